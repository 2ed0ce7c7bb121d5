// SPDX-License-Identifier: Apache-2.0
// What optimizers do to one element and where, for the CPU and for kernels. Inlined everywhere: the files that include
// this are compiled for several instruction sets.
#pragma once
#include "kernels/optimize.h"

namespace metvox {

template <class T>
struct SgdStep {
  T lr, momentum, decay, scale;

  METVOX_HD SgdStep(const SgdNesterov& o, const StepControl& c)
      : lr(T(c.lr)), momentum(T(o.momentum)), decay(T(o.weight_decay)), scale(T(c.g_scale)) {}
  [[gnu::always_inline]] METVOX_HD inline void operator()(T& w, T g, T& v) const {
    const T step = g * scale + decay * w;
    v = momentum * v + step;
    w -= lr * (step + momentum * v);
  }
};

template <class T>
struct AdamStep {
  T rate, root, eps, decay, scale, keep1, add1, keep2, add2;  // rate: lr / correction 1; root: sqrt(correction 2)

  METVOX_HD AdamStep(const Adam& o, const StepControl& c) {
    const auto steps = static_cast<double>(c.steps);
    const double correction1 = 1 - std::pow(o.beta1, steps), correction2 = 1 - std::pow(o.beta2, steps);
    rate = T(c.lr / correction1), root = T(std::sqrt(correction2));
    eps = T(o.eps), decay = T(o.weight_decay), scale = T(c.g_scale);
    keep1 = T(o.beta1), add1 = T(1 - o.beta1), keep2 = T(o.beta2), add2 = T(1 - o.beta2);
  }
  [[gnu::always_inline]] METVOX_HD inline void operator()(T& w, T g, T& m, T& v) const {
    const T step = g * scale + decay * w;
    m = keep1 * m + add1 * step;
    v = keep2 * v + add2 * step * step;
    w -= rate * m / (std::sqrt(v) / root + eps);
  }
};

// body(begin, end) in the buffer for elements [first, last) of `count` ranges laid end to end.
template <class Body>
METVOX_HD inline void walk(const Range* ranges, int64_t count, int64_t first, int64_t last, const Body& body) {
  for (int64_t r = 0; r < count; ++r) {
    const int64_t begin = first > 0 ? first : 0, end = last < ranges[r].count ? last : ranges[r].count;
    if (begin < end) body(ranges[r].first + begin, ranges[r].first + end);
    first -= ranges[r].count;
    last -= ranges[r].count;
  }
}

}  // namespace metvox
