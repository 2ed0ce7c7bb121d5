// SPDX-License-Identifier: Apache-2.0
// The GPU's side of kernels/optimize.h: f32, ranges that were checked there.
#pragma once
#include "kernels/on_device.h"
#include "kernels/optimize.h"

namespace metvox {

METVOX_DEVICE_DECLARE(void measure_gradients(Stream&, View g, std::span<const Range>, const StepRules&, StepControl*);
                      void sgd_nesterov(Stream&, View w, View g, View v, std::span<const Range>, const SgdNesterov&,
                                        const StepControl*);
                      void adam(Stream&, View w, View g, View m, View v, std::span<const Range>, const Adam&,
                                const StepControl*);)

}  // namespace metvox
