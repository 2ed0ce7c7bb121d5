// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/bias_loops.h"

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

void add_to_rows_f32(float* a, int64_t rows, int64_t width, const float* __restrict lanes) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < width; ++i) a[r * width + i] += lanes[i];
}

void add_to_rows_bf16(uint16_t* a, int64_t rows, int64_t width, const float* __restrict lanes) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < width; ++i) {
      const float sum = __builtin_bit_cast(float, static_cast<uint32_t>(a[r * width + i]) << 16) + lanes[i];
      const uint32_t bits = __builtin_bit_cast(uint32_t, sum);
      const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
      a[r * width + i] = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : rounded);
    }
}

}  // namespace metvox::cpu::METVOX_ISA
