// SPDX-License-Identifier: Apache-2.0
#include "tensor/device.h"

#include <array>
#include <utility>

#include "tensor/error.h"

namespace metvox {
namespace {

std::array<const DeviceDriver*, 3>& drivers() {
  static std::array<const DeviceDriver*, 3> all{};
  return all;
}

const DeviceDriver* find(Device::Kind kind) { return drivers()[static_cast<size_t>(kind)]; }

}  // namespace

std::string name_of(Device d) {
  switch (d.kind) {
    case Device::Kind::cpu: return "cpu";
    case Device::Kind::sim: return "sim";
    case Device::Kind::cuda: break;
  }
  return "cuda:" + std::to_string(d.index);
}

DriverEntry::DriverEntry(Device::Kind kind, const DeviceDriver& driver) {
  drivers()[static_cast<size_t>(kind)] = &driver;
}

const DeviceDriver& driver(Device device) {
  const DeviceDriver* found = find(device.kind);
  if (!found) fail(Fault::usage, "--device ", name_of(device), ": this metvox was built without it; use --device cpu");
  const int count = found->count();
  if (device.index < 0 || device.index >= count)
    fail(Fault::usage, "--device ", name_of(device), ": this machine has ", count == 0 ? "no" : std::to_string(count),
         " such device", count == 1 ? "" : "s", count == 0 ? "; use --device cpu" : "");
  return *found;
}

int device_count(Device::Kind kind) {
  if (kind == Device::Kind::cpu) return 1;
  const DeviceDriver* found = find(kind);
  return found ? found->count() : 0;
}

bool built_for(Device::Kind kind) { return kind == Device::Kind::cpu || find(kind); }

Stream::Stream(Device device) : device_(device) {
  if (!device.is_cpu()) handle_ = driver(device).make_stream(device.index);
}
Stream::~Stream() {
  if (handle_) find(device_.kind)->release_stream(device_.index, handle_);
}
Stream::Stream(Stream&& other) noexcept : device_(other.device_), handle_(std::exchange(other.handle_, nullptr)) {}

void Stream::synchronize() const {
  if (!device_.is_cpu()) driver(device_).synchronize(device_.index, handle_);
}

}  // namespace metvox
