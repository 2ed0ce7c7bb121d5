// SPDX-License-Identifier: Apache-2.0
// In which format tensor cores multiply, and one such product: f16 and bf16 as they are stored, or floats as tf32.
#pragma once
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/vector.h"

namespace metvox::METVOX_KERNEL_NS {

// Floats in memory, rounded on their way into the tensor cores.
struct Tf32 {};

template <class F>
using Stored = std::conditional_t<std::is_same_v<F, Tf32>, float, F>;

// Along K of one product: 32 bytes of a row, two pieces, in either format.
template <class F>
constexpr int kDepth = 32 / static_cast<int>(sizeof(Stored<F>));

// D (16 x 8, f32) += A (16 x kDepth, row-major) B (kDepth x 8, column-major), the fragments as ldmatrix brings them.
template <class F>
METVOX_DEVICE void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<F, Tf32>) mma_tf32_m16n8k8(d, a, b);
  else mma_m16n8k16<F>(d, a, b);
}

// A fragment as it was stored, made one that multiply() takes.
template <class F>
METVOX_DEVICE void round_factors(uint32_t (&fragment)[4]) {
  if constexpr (std::is_same_v<F, Tf32>)
#pragma unroll
    for (uint32_t& bits : fragment) bits = to_tf32(bits_as<float>(bits));
}

// ---- the host's side ----

// f.template operator()<F>(): float (which FMA units multiply), bf16, f16 or Tf32.
template <class Use>
void dispatch_format(DType t, bool tf32, Use&& use) {
  if (tf32) use.template operator()<Tf32>();
  else dispatch_type(t, use);
}

}  // namespace metvox::METVOX_KERNEL_NS
