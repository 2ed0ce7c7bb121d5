// SPDX-License-Identifier: Apache-2.0
#include "tensor/async.h"

#include <array>
#include <utility>

namespace metvox {
namespace {

std::array<const AsyncDriver*, 3>& drivers() {
  static std::array<const AsyncDriver*, 3> all{};
  return all;
}

}  // namespace

AsyncDriverEntry::AsyncDriverEntry(Device::Kind kind, const AsyncDriver& driver) {
  drivers()[static_cast<size_t>(kind)] = &driver;
}

const AsyncDriver& async_driver(Device device) {
  const AsyncDriver* found = drivers()[static_cast<size_t>(device.kind)];
  check(found, "async_driver: none for ", name_of(device));
  return *found;
}

void wait_for(const Stream& stream, const Stream& other) {
  check(stream.device() == other.device(), "wait_for: streams of ", name_of(stream.device()), " and ",
        name_of(other.device()));
  if (!stream.device().is_cpu()) async_driver(stream.device()).wait(stream.handle(), other.handle());
}

void begin_upload(Stream& stream, const View& from, const View& to) {
  if (to.device.is_cpu()) return transfer(stream, from, to);
  check(from.device.is_cpu() && from.shape == to.shape && from.dtype == to.dtype && stream.device() == to.device,
        "begin_upload: ", from.shape, ' ', name_of(from.dtype), " to ", to.shape, ' ', name_of(to.dtype));
  driver(to.device).copy(to.data, from.data, to.bytes(), stream.handle());
}

Pinned::Pinned(Tensor host, Device device) : host_(std::move(host)), device_(device) {
  if (!device.is_cpu()) pinned_ = async_driver(device).pin(device.index, host_.view().data, host_.bytes());
}
Pinned::~Pinned() {
  if (!pinned_) return;
  driver(device_).synchronize(device_.index, nullptr);  // a copy may be under way
  async_driver(device_).unpin(device_.index, host_.view().data);
}
Pinned::Pinned(Pinned&& other) noexcept
    : host_(std::move(other.host_)), device_(other.device_), pinned_(std::exchange(other.pinned_, false)) {}

NamedRange::NamedRange(Device device, const std::string& name)
    : driver_(device.is_cpu() ? nullptr : &async_driver(device)) {
  if (driver_) driver_->begin_range(name.c_str());
}
NamedRange::~NamedRange() {
  if (driver_) driver_->end_range();
}

}  // namespace metvox
