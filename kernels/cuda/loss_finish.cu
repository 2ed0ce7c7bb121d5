// SPDX-License-Identifier: Apache-2.0
// A few hundred numbers, one thread. Not yet run on hardware.
#include "kernels/cuda/loss_finish.h"

#include "kernels/cuda/kernel.h"
#include "kernels/loss_finish_body.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

__global__ void finish(FinishBody<float> body) { body(0); }

}  // namespace

void finish_loss(Stream& stream, const LossFinish& f, const double* sums, double* coefficients, View y) {
  launch(finish, dim3(1), dim3(1), 0, stream, FinishBody<float>{f, sums, coefficients, y.as<float>()});
}

}  // namespace metvox::METVOX_KERNEL_NS
