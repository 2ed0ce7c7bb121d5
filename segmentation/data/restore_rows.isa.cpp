// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/restore_rows.h"

namespace metvox::METVOX_ISA {

void mix_rows(const float* a, const float* b, float wa, float wb, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = wa * a[i] + wb * b[i];
}

void mix_along(const float* in, const int32_t* first, const int32_t* second, const float* wa, const float* wb,
               int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = wa[i] * in[first[i]] + wb[i] * in[second[i]];
}

void first_of_highest(const float* const* rows, int64_t count, const uint8_t* values, int64_t n, uint8_t* out) {
  constexpr int64_t kBlock = 256;
  float highest[kBlock];
  int32_t value[kBlock];  // as wide as what is compared, so that both are chosen by one mask
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t width = n - start < kBlock ? n - start : kBlock;
    for (int64_t i = 0; i < width; ++i) {
      highest[i] = rows[0][start + i];
      value[i] = values[0];
    }
    for (int64_t r = 1; r < count; ++r) {
      const float* row = rows[r] + start;
      const int32_t here = values[r];
      for (int64_t i = 0; i < width; ++i) {
        const bool higher = row[i] > highest[i];
        value[i] = higher ? here : value[i];
        highest[i] = higher ? row[i] : highest[i];
      }
    }
    for (int64_t i = 0; i < width; ++i) out[start + i] = static_cast<uint8_t>(value[i]);
  }
}

void last_above(const float* const* rows, int64_t count, const uint8_t* values, float threshold, int64_t n,
                uint8_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = 0;
  for (int64_t r = 0; r < count; ++r) {
    const float* row = rows[r];
    const uint8_t here = values[r];
    for (int64_t i = 0; i < n; ++i) out[i] = row[i] > threshold ? here : out[i];
  }
}

}  // namespace metvox::METVOX_ISA
