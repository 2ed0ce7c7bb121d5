// SPDX-License-Identifier: Apache-2.0
// Replay: work that a stream is given many times over. The first time it is done as it is, since it may still take
// memory; the second time it is recorded, and from then on the device gets the recording as one (a CUDA graph), without
// a launch for each of its kernels. On the CPU, and where recording fails (which is said once on stderr), the work is
// done as it is every time.
#pragma once
#include <functional>

#include "tensor/device.h"

namespace metvox {

class Replay {
 public:
  Replay() = default;
  ~Replay();
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  // The work's own code runs in the first two calls alone: what it does on the host, and the numbers that it hands to
  // kernels, must be the same each time. It gives work to this stream only, and never waits for the device.
  void run(Stream& stream, const std::function<void()>& work);

 private:
  bool record(Stream& stream, const std::function<void()>& work);
  int runs_ = 0;
  bool failed_ = false;
  Device device_;
  void* graph_ = nullptr;  // the driver's
};

}  // namespace metvox
