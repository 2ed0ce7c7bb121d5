// SPDX-License-Identifier: Apache-2.0
// Convolution as an op; contract in kernels/conv3d.h.
#pragma once
#include "autograd/graph.h"

namespace metvox {

struct Conv3dOptions {
  Int3 stride{1, 1, 1}, pad{1, 1, 1};
};
// Inputs that are not there are default Values: x2 (a second input, as if concatenated behind x) and b.
Value conv3d(Value x, Value x2, Value w, Value b, const Conv3dOptions& options);

}  // namespace metvox
