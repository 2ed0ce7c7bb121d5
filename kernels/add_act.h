// SPDX-License-Identifier: Apache-2.0
// The end of a residual block: y = act(a + b), with h > 0 ? h : slope * h; slope above 0, so that y tells h's sign.
// All of one shape and type (f64, f32, bf16; bf16 is computed in float and rounded once).
#pragma once
#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox {

// y may be a or b.
void add_act(Stream&, View a, View b, double slope, View y);
// dx = dy where y is above 0, slope * dy elsewhere, as the Grad says; the same for a and b. dx may be dy.
void add_act_backward(Stream&, View y, View dy, double slope, View dx, Grad);

}  // namespace metvox
