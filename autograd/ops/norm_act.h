// SPDX-License-Identifier: Apache-2.0
// Instance or group norm + leaky ReLU as an op; contract in kernels/norm_act.h. groups 0: instance norm.
#pragma once
#include "autograd/graph.h"

namespace metvox {
Value norm_act(Value x, Value gamma, Value beta, double slope = 0.01, double eps = 1e-5, int64_t groups = 0);
// What an op of this kind was made with; for those who write graphs down.
struct NormActNumbers {
  double slope = 0, eps = 0;
  int64_t groups = 0;
};
NormActNumbers norm_act_numbers(const Op& op);
}  // namespace metvox
