// SPDX-License-Identifier: Apache-2.0
// The GPU's side of kernels/add_act.h: views that were checked there; activations are f32, bf16, f16.
#pragma once
#include "kernels/engine.h"
#include "kernels/on_device.h"

namespace metvox {

METVOX_DEVICE_DECLARE(void add_act(Stream&, View a, View b, double slope, View y);
                      void add_act_backward(Stream&, View y, View dy, double slope, View dx, Grad);)

}  // namespace metvox
