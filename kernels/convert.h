// SPDX-License-Identifier: Apache-2.0
// Elements to double and back, for loops that are written once for f64, f32, bf16 and f16.
#pragma once
#include "kernels/engine.h"

namespace metvox {

METVOX_HD inline double to_double(double v) { return v; }
METVOX_HD inline double to_double(float v) { return static_cast<double>(v); }
METVOX_HD inline double to_double(bf16 v) { return static_cast<double>(static_cast<float>(v)); }
METVOX_HD inline double to_double(uint8_t v) { return v; }
METVOX_HD inline double to_double(f16 v) { return static_cast<double>(static_cast<float>(v)); }

template <class T>
METVOX_HD T from_double(double v) {
  if constexpr (std::is_same_v<T, double>) return v;
  else return T(static_cast<float>(v));
}

template <class T>
METVOX_HD void put(T& out, double value, Grad grad) {
  if (grad != Grad::ignore) out = from_double<T>(grad == Grad::accumulate ? to_double(out) + value : value);
}

// The type of weights beside activations of type T.
template <class T>
using Master = std::conditional_t<std::is_same_v<T, double>, double, float>;

}  // namespace metvox
