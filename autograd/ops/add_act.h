// SPDX-License-Identifier: Apache-2.0
// y = leaky ReLU of a + b, shapes and kinds equal: the end of a residual block; contract in kernels/add_act.h.
#pragma once
#include "autograd/graph.h"

namespace metvox {
Value add_act(Value a, Value b, double slope = 0.01);
// The slope of an op of this kind; for those who write graphs down.
double add_act_slope(const Op& op);
}  // namespace metvox
