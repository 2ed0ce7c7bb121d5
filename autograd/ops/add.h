// SPDX-License-Identifier: Apache-2.0
// y = a + b, shapes and kinds equal (a residual).
#pragma once
#include "autograd/graph.h"

namespace metvox {
Value add(Value a, Value b);
}  // namespace metvox
