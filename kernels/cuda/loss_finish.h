// SPDX-License-Identifier: Apache-2.0
// The GPU's side of kernels/loss_finish.h: y f32, checked there.
#pragma once
#include "kernels/loss_finish.h"
#include "kernels/on_device.h"

namespace metvox {

METVOX_DEVICE_DECLARE(void finish_loss(Stream&, const LossFinish&, const double* sums, double* coefficients, View y);)

}  // namespace metvox
