// SPDX-License-Identifier: Apache-2.0
// Rows are summed over the two slower axes first, as one run of voxels and channels; along W the sum stays in cache.
#include "kernels/cpu/vec.h"
#include "kernels/upsample_native.h"

namespace metvox::METVOX_ISA {
namespace {

using native::WeightedRows;

template <class T>
void sum_rows(const WeightedRows<T>& rows, int64_t elements, float* sums) {
  for (int64_t i = 0; i < elements; i += kLanes) {
    Vec sum = load(rows.row[0] + i, elements - i) * rows.weight[0];
    for (int r = 1; r < rows.count; ++r) sum += load(rows.row[r] + i, elements - i) * rows.weight[r];
    store(sums + i, sum);
  }
}

}  // namespace

// Whole vectors are written in rising order: what spills over a voxel's channels is overwritten by the next voxel.
template <class T>
void upsample_row(const WeightedRows<T>& rows, int64_t w, int64_t c, float* sums, T* y) {
  sum_rows(rows, w * c, sums);
  const int64_t end = 2 * w * c;
  for (int64_t v = 0; v < w; ++v) {
    const float *here = sums + v * c, *before = v == 0 ? here : here - c, *after = v == w - 1 ? here : here + c;
    for (int half = 0; half < 2; ++half) {
      const float* other = half == 0 ? before : after;
      const int64_t at = (2 * v + half) * c;
      for (int64_t k = 0; k < c; k += kLanes)
        store(y + at + k, load(here + k) * 0.75f + load(other + k) * 0.25f, end - at - k);
    }
  }
}

template <class T>
void upsample_row_back(const WeightedRows<T>& rows, int64_t w, int64_t c, bool accumulate, float* sums, float* gathered,
                       T* dx) {
  sum_rows(rows, 2 * w * c, sums);
  for (int64_t v = 0; v < w; ++v) {
    const float *left = sums + 2 * v * c, *right = left + c;
    const float *before = v == 0 ? left : left - c, *after = v == w - 1 ? right : right + c;
    for (int64_t k = 0; k < c; k += kLanes)
      store(gathered + v * c + k,
            (load(left + k) + load(right + k)) * 0.75f + (load(before + k) + load(after + k)) * 0.25f);
  }
  for (int64_t i = 0; i < w * c; i += kLanes) {
    Vec sum = load(gathered + i);
    if (accumulate) sum += load(dx + i, w * c - i);
    store(dx + i, sum, w * c - i);
  }
}

#define METVOX_INSTANTIATE(T)                                                          \
  template void upsample_row<T>(const WeightedRows<T>&, int64_t, int64_t, float*, T*); \
  template void upsample_row_back<T>(const WeightedRows<T>&, int64_t, int64_t, bool, float*, float*, T*);
METVOX_INSTANTIATE(float)
METVOX_INSTANTIATE(uint16_t)
#undef METVOX_INSTANTIATE

}  // namespace metvox::METVOX_ISA
