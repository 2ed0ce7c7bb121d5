// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimize_loops.h"

namespace metvox::METVOX_ISA {
namespace {

inline float root(float v) { return __builtin_sqrtf(v); }
inline double root(double v) { return __builtin_sqrt(v); }

}  // namespace

template <class T>
void adam_steps(T* __restrict w, const T* __restrict g, T* __restrict m, T* __restrict v, int64_t n,
                const AdamConstants<T>& constants) {
  const AdamConstants<T> k = constants;
  for (int64_t i = 0; i < n; ++i) {
    const T step = g[i] * k.scale + k.decay * w[i];
    m[i] = k.keep1 * m[i] + k.add1 * step;
    v[i] = k.keep2 * v[i] + k.add2 * step * step;
    w[i] -= k.rate * m[i] / (root(v[i]) / k.root + k.eps);
  }
}

template void adam_steps<float>(float*, const float*, float*, float*, int64_t, const AdamConstants<float>&);
template void adam_steps<double>(double*, const double*, double*, double*, int64_t, const AdamConstants<double>&);

}  // namespace metvox::METVOX_ISA
