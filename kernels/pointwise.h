// SPDX-License-Identifier: Apache-2.0
// Pointwise work on views of equal shape and type (f64, f32, bf16, on a GPU also f16; half types are added in float and
// rounded once).
#pragma once
#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox {

// y = a + b (y may be a or b).
void add(Stream&, View a, View b, View y);
// y = x, or y += x, or nothing, as the Grad says.
void copy(Stream&, View x, View y, Grad);
void fill(Stream&, View y, double value);
// Element by element between types, rounded to nearest; f16 here too, and x may also be u8.
void convert(Stream&, View x, View y);
// y (1) = sum of w x, in double, in the order of the elements; w f32. For checks of ops: one thread.
void weighted_sum(Stream&, View x, View w, View y);
// dx = w dy, as the Grad says; dy (1).
void weighted_sum_backward(Stream&, View w, View dy, View dx, Grad);

}  // namespace metvox
