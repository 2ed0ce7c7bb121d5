// SPDX-License-Identifier: Apache-2.0
#include "kernels/loss_finish.h"

#include "kernels/check_view.h"
#include "kernels/cuda/loss_finish.h"
#include "kernels/loss_finish_body.h"

namespace metvox {

void finish_loss(Stream& stream, const LossFinish& f, const double* sums, double* coefficients, View y) {
  check(f.levels >= 1 && f.levels <= LossFinish::kMaxLevels, "finish_loss: ", f.levels, " levels");
  check_view("finish_loss", "y", y, {3 + 3 * f.heads}, y.dtype);
  METVOX_ON_DEVICE(stream, finish_loss(stream, f, sums, coefficients, y))
  if (y.dtype == DType::f64) FinishBody<double>{f, sums, coefficients, y.as<double>()}(0);
  else FinishBody<float>{f, sums, coefficients, y.as<float>()}(0);
}

}  // namespace metvox
