// SPDX-License-Identifier: Apache-2.0
// The GPU's side of kernels/pointwise.h: views that were checked there; activations are f32, bf16, f16.
#pragma once
#include "kernels/engine.h"
#include "kernels/on_device.h"

namespace metvox {

METVOX_DEVICE_DECLARE(void add(Stream&, View a, View b, View y); void fill(Stream&, View y, double value);
                      void convert(Stream&, View x, View y); void weighted_sum(Stream&, View x, View w, View y);
                      void weighted_sum_backward(Stream&, View w, View dy, View dx, Grad);)

}  // namespace metvox
