// SPDX-License-Identifier: Apache-2.0
// One number from an activation: the sum of x times fixed weights (quarters between -1 and 1, exact in every type). It
// turns any op into a loss for checks. Or times `weights`, f32 of x's shape and order in memory (Kind::result), which
// get no gradient: the derivative of any sum of outputs.
#pragma once
#include "autograd/graph.h"

namespace metvox {
Value weighted_sum(Value x);
Value weighted_sum(Value x, Value weights);
}  // namespace metvox
