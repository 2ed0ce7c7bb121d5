// SPDX-License-Identifier: Apache-2.0
// Trilinear upsampling by two as an op; contract in kernels/upsample.h.
#pragma once
#include "autograd/graph.h"

namespace metvox {
Value upsample(Value x);
}  // namespace metvox
