// SPDX-License-Identifier: Apache-2.0
// Event: a moment on a stream, passed when the device has done what the stream was given before it. Times of a device
// are taken between two of these, by the device's own clock: the host's also counts launches and waiting. On the CPU
// and on `sim`, where work is done when a call returns, it is the host's clock.
#pragma once
#include "tensor/device.h"

namespace metvox {

class Event {
 public:
  explicit Event(Device device);
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&&) = delete;

  // On a stream of its device. The last record counts. Recorded work (tensor/replay.h) may contain it: then the moment
  // is that of the last replay.
  void record(Stream&);
  // Between two of one device, when the stream has been waited for.
  friend double ms_between(const Event& from, const Event& to);

 private:
  Device device_;
  void* handle_ = nullptr;  // the driver's own; nullptr on the CPU
  double host_ms_ = 0;
};
double ms_between(const Event& from, const Event& to);

// By the host's clock, from no moment in particular.
double host_ms();

}  // namespace metvox
