// SPDX-License-Identifier: Apache-2.0
// The GPU's side of kernels/avg_pool.h: views that were checked there; activations are f32, bf16, f16.
#pragma once
#include "kernels/engine.h"
#include "kernels/on_device.h"

namespace metvox {

METVOX_DEVICE_DECLARE(void avg_pool(Stream&, View x, const Int3& stride, View y);
                      void avg_pool_backward(Stream&, View dy, const Int3& stride, View dx, Grad);)

}  // namespace metvox
