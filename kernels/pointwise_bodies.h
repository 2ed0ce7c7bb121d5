// SPDX-License-Identifier: Apache-2.0
// Bodies of pointwise loops, for the CPU and for kernels.
#pragma once
#include "kernels/convert.h"

namespace metvox {

template <class T>
struct FillBody {
  T* y;
  T value;
  METVOX_HD void operator()(int64_t i) const { y[i] = value; }
};

template <class From, class To>
struct ConvertBody {
  const From* x;
  To* y;
  METVOX_HD void operator()(int64_t i) const {
    if constexpr (std::is_same_v<From, double> || std::is_same_v<To, double>) y[i] = from_double<To>(to_double(x[i]));
    else y[i] = To(static_cast<float>(x[i]));
  }
};

template <class T>
struct WeightedSumBackwardBody {
  const float* w;
  const Master<T>* dy;
  T* dx;
  Grad grad;
  METVOX_HD void operator()(int64_t i) const { put(dx[i], to_double(w[i]) * to_double(dy[0]), grad); }
};

}  // namespace metvox
