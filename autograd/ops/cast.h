// SPDX-License-Identifier: Apache-2.0
// A parameter as an activation: y = x in the target's type, dx = dy. How checks give activations a gradient.
#pragma once
#include "autograd/graph.h"

namespace metvox {
Value cast(Value parameter);
}  // namespace metvox
