// SPDX-License-Identifier: Apache-2.0
// The GPU's side of kernels/ceilings.h.
#pragma once
#include "kernels/on_device.h"

namespace metvox {

struct RegisterLoop {
  static constexpr int kThreads = 256, kSums = 32;  // a thread's sums: eight m16n8 products under way at once
};

METVOX_DEVICE_DECLARE(void multiply_registers(Stream&, DType, bool tf32, int times, float value, View out);)

}  // namespace metvox
