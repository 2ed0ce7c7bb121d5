// SPDX-License-Identifier: Apache-2.0
// The GPU's side of kernels/window.h: views that were checked there; windows are f32, bf16, f16.
#pragma once
#include "kernels/on_device.h"
#include "kernels/window.h"

namespace metvox {

METVOX_DEVICE_DECLARE(void cut_window(Stream&, View volume, const WindowPlace&, View x);
                      void blend_window(Stream&, View y, const WindowPlace&, const WindowWeights&, View volume);)

}  // namespace metvox
