// SPDX-License-Identifier: Apache-2.0
#include "kernels/avg_pool_loops.h"
#include "kernels/cpu/vec.h"

namespace metvox::METVOX_ISA {

template <class T>
void avg_pool_row(const T* const* rows, int64_t count, int64_t step, int64_t w, int64_t c, T* y) {
  const float share = 1.0f / static_cast<float>(count * step);
  for (int64_t v = 0; v < w; ++v)
    for (int64_t k = 0; k < c; k += kLanes) {
      Vec sum = {};
      for (int64_t r = 0; r < count; ++r)
        for (int64_t s = 0; s < step; ++s) sum += load(rows[r] + (v * step + s) * c + k, c - k);
      store(y + v * c + k, sum * share, c - k);
    }
}

template <class T>
void avg_pool_row_back(const T* dy, int64_t count, int64_t step, int64_t w, int64_t c, bool accumulate,
                       T* const* rows) {
  const float share = 1.0f / static_cast<float>(count * step);
  for (int64_t r = 0; r < count; ++r)
    for (int64_t v = 0; v < w * step; ++v)
      for (int64_t k = 0; k < c; k += kLanes) {
        T* to = rows[r] + v * c + k;
        Vec gradient = load(dy + v / step * c + k, c - k) * share;
        if (accumulate) gradient += load(to, c - k);
        store(to, gradient, c - k);
      }
}

#define METVOX_INSTANTIATE(T)                                                             \
  template void avg_pool_row<T>(const T* const*, int64_t, int64_t, int64_t, int64_t, T*); \
  template void avg_pool_row_back<T>(const T*, int64_t, int64_t, int64_t, int64_t, bool, T* const*);
METVOX_INSTANTIATE(float)
METVOX_INSTANTIATE(uint16_t)
#undef METVOX_INSTANTIATE

}  // namespace metvox::METVOX_ISA
