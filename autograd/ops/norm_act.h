// SPDX-License-Identifier: Apache-2.0
// Instance or group norm + leaky ReLU as an op; contract in kernels/norm_act.h. groups 0: instance norm.
#pragma once
#include "autograd/graph.h"

namespace metvox {
Value norm_act(Value x, Value gamma, Value beta, double slope = 0.01, double eps = 1e-5, int64_t groups = 0);
}  // namespace metvox
