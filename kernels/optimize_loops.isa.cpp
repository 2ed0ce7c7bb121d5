// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimize_loops.h"

namespace metvox::METVOX_ISA {

template <class T>
void adam_steps(T* __restrict w, const T* __restrict g, T* __restrict m, T* __restrict v, int64_t n,
                const AdamStep<T>& constants) {
  const AdamStep<T> step = constants;
  for (int64_t i = 0; i < n; ++i) step(w[i], g[i], m[i], v[i]);
}

template void adam_steps<float>(float*, const float*, float*, float*, int64_t, const AdamStep<float>&);
template void adam_steps<double>(double*, const double*, double*, double*, int64_t, const AdamStep<double>&);

}  // namespace metvox::METVOX_ISA
