// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/vec.h"
#include "kernels/pointwise_loops.h"

namespace metvox::METVOX_ISA {

void add_bf16(const uint16_t* a, const uint16_t* b, int64_t n, uint16_t* y) {
  for (int64_t i = 0; i < n; i += kLanes) store(y + i, load(a + i, n - i) + load(b + i, n - i), n - i);
}

void bf16_to_f32(const uint16_t* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; i += kLanes) store(y + i, load(x + i, n - i), n - i);
}

void f32_to_bf16(const float* x, int64_t n, uint16_t* y) {
  for (int64_t i = 0; i < n; i += kLanes) store(y + i, load(x + i, n - i), n - i);
}

}  // namespace metvox::METVOX_ISA
