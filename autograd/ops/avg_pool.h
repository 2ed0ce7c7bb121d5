// SPDX-License-Identifier: Apache-2.0
// Means of boxes as an op; contract in kernels/avg_pool.h.
#pragma once
#include "autograd/graph.h"

namespace metvox {
Value avg_pool(Value x, const Int3& stride);
}  // namespace metvox
