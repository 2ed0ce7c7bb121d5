// SPDX-License-Identifier: Apache-2.0
#include "tensor/event.h"

#include <chrono>
#include <utility>

#include "tensor/async.h"

namespace metvox {

Event::Event(Device device) : device_(device) {
  if (!device.is_cpu()) handle_ = async_driver(device).make_event(device.index);
}
Event::~Event() {
  if (handle_) async_driver(device_).release_event(device_.index, handle_);
}
Event::Event(Event&& other) noexcept
    : device_(other.device_), handle_(std::exchange(other.handle_, nullptr)), host_ms_(other.host_ms_) {}

void Event::record(Stream& stream) {
  check(stream.device() == device_, "Event: of ", name_of(device_), ", recorded on ", name_of(stream.device()));
  if (handle_) async_driver(device_).record_event(handle_, stream.handle());
  else host_ms_ = host_ms();
}

double ms_between(const Event& from, const Event& to) {
  check(from.device_ == to.device_, "ms_between: events of ", name_of(from.device_), " and ", name_of(to.device_));
  if (!from.handle_) return to.host_ms_ - from.host_ms_;
  return async_driver(from.device_).ms_between(from.handle_, to.handle_);
}

double host_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace metvox
