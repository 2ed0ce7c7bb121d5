// SPDX-License-Identifier: Apache-2.0
// Transposed convolution (kernel = stride) as an op; contract in kernels/conv_transpose3d.h.
#pragma once
#include "autograd/graph.h"

namespace metvox {
// b may be a default Value. The stride is the kernel of w (C, K, sd, sh, sw).
Value conv_transpose3d(Value x, Value w, Value b);
}  // namespace metvox
