// SPDX-License-Identifier: Apache-2.0
// Instance norm + leaky ReLU as an op; contract in kernels/norm_act.h.
#pragma once
#include "autograd/graph.h"

namespace metvox {
Value norm_act(Value x, Value gamma, Value beta, double slope = 0.01, double eps = 1e-5);
}  // namespace metvox
