// SPDX-License-Identifier: Apache-2.0
// Pointwise work on views of equal shape and type (f64, f32, bf16; bf16 is added in float and rounded once).
#pragma once
#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox {

// y = a + b (y may be a or b).
void add(Stream&, View a, View b, View y);
// y = x, or y += x, or nothing, as the Grad says.
void copy(Stream&, View x, View y, Grad);
void fill(Stream&, View y, double value);
// Element by element between types, rounded to nearest; x may also be u8.
void convert(Stream&, View x, View y);

}  // namespace metvox
