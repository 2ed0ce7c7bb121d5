// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/channel_sums_loops.h"

namespace metvox::cpu::METVOX_ISA {

void add_rows_f32(const float* a, int64_t rows, int64_t width, float* __restrict lanes) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < width; ++i) lanes[i] += a[r * width + i];
}

void add_rows_bf16(const uint16_t* a, int64_t rows, int64_t width, float* __restrict lanes) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < width; ++i)
      lanes[i] += __builtin_bit_cast(float, static_cast<uint32_t>(a[r * width + i]) << 16);
}

}  // namespace metvox::cpu::METVOX_ISA
