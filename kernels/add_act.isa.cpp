// SPDX-License-Identifier: Apache-2.0
#include "kernels/add_act_loops.h"
#include "kernels/cpu/vec.h"

namespace metvox::METVOX_ISA {

template <class T>
void add_act_run(const T* a, const T* b, int64_t n, float slope, T* y) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec h = load(a + i, n - i) + load(b + i, n - i);
    store(y + i, h > 0.0f ? h : h * slope, n - i);
  }
}

template <class T>
void add_act_back_run(const T* y, const T* dy, int64_t n, float slope, bool accumulate, T* dx) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec d = load(dy + i, n - i);
    Vec to = load(y + i, n - i) > 0.0f ? d : d * slope;
    if (accumulate) to += load(dx + i, n - i);
    store(dx + i, to, n - i);
  }
}

#define METVOX_INSTANTIATE(T)                                           \
  template void add_act_run<T>(const T*, const T*, int64_t, float, T*); \
  template void add_act_back_run<T>(const T*, const T*, int64_t, float, bool, T*);
METVOX_INSTANTIATE(float)
METVOX_INSTANTIATE(uint16_t)
#undef METVOX_INSTANTIATE

}  // namespace metvox::METVOX_ISA
