// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/vec.h"
#include "segmentation/data/restore_rows.h"

namespace metvox::METVOX_ISA {
namespace {

VecBits load_indices(const int32_t* p) {
  VecBits v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

}  // namespace

void mix_rows(const float* a, const float* b, float wa, float wb, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = wa * a[i] + wb * b[i];
}

// Where what a vector of results comes from lies within one vector, which holds but for coarser grids, that is loaded
// and permuted: a gather takes several times as long.
void mix_along(const float* in, int64_t width, const int32_t* first, const int32_t* second, const float* wa,
               const float* wb, int64_t n, float* out) {
  for (int64_t start = 0; start < n; start += kLanes) {
    const int64_t i = start < n - kLanes ? start : n - kLanes;  // the last overlaps the one before
    const int64_t base = i < 0 ? 0 : first[i] < width - kLanes ? first[i] : width - kLanes;
    if (i < 0 || base < 0 || second[i + kLanes - 1] >= base + kLanes) {
      const int64_t end = start + kLanes < n ? start + kLanes : n;
      for (int64_t k = start; k < end; ++k) out[k] = wa[k] * in[first[k]] + wb[k] * in[second[k]];
      continue;
    }
    const Vec from = load(in + base);
    const VecBits shift = VecBits{} + static_cast<uint32_t>(base);
    const Vec a = __builtin_shuffle(from, load_indices(first + i) - shift),
              b = __builtin_shuffle(from, load_indices(second + i) - shift);
    store(out + i, load(wa + i) * a + load(wb + i) * b);
  }
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
