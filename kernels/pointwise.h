// SPDX-License-Identifier: Apache-2.0
// Pointwise work on views of equal shape and type, on the stream's device: f64, f32, bf16 on the CPU; f32, bf16, f16 on
// a GPU. Half types are added in float and rounded once.
#pragma once
#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox {

// y = a + b (y may be a or b).
void add(Stream&, View a, View b, View y);
// y = x, or y += x, or nothing, as the Grad says.
void copy(Stream&, View x, View y, Grad);
void fill(Stream&, View y, double value);
// Element by element between types, rounded to nearest: f16 and f64 on every device, and x may also be u8.
void convert(Stream&, View x, View y);
// y (1) = sum of w x, in double, in one order (on the CPU, that of the elements); w f32. For checks of ops: one thread,
// or one block.
void weighted_sum(Stream&, View x, View w, View y);
// dx = w dy, as the Grad says; dy (1).
void weighted_sum_backward(Stream&, View w, View dy, View dx, Grad);

}  // namespace metvox
