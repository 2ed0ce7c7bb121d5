// SPDX-License-Identifier: Apache-2.0
#include "kernels/add_act.h"

#include "kernels/add_act_loops.h"
#include "kernels/check_view.h"
#include "kernels/convert.h"
#include "kernels/launch.h"

namespace metvox {
namespace {

constexpr int64_t kGrain = 16384;  // elements worth a thread

// f.operator()<T>() with T float, or uint16_t for the bits of bf16.
template <class F>
void dispatch_bits(DType dtype, F f) {
  if (dtype == DType::bf16) f.template operator()<uint16_t>();
  else f.template operator()<float>();
}

}  // namespace

void add_act(Stream& stream, View a, View b, double slope, View y) {
  check(slope > 0, "add_act: slope ", slope, " is not above 0");
  check_view("add_act", "a", a, y.shape, y.dtype);
  check_view("add_act", "b", b, y.shape, y.dtype);
  if (y.dtype == DType::f64) {
    const double *from_a = a.as<double>(), *from_b = b.as<double>();
    double* to = y.as<double>();
    return for_each(stream, y.size(), [=](int64_t i) {
      const double h = from_a[i] + from_b[i];
      to[i] = h > 0 ? h : slope * h;
    });
  }
  dispatch_bits(y.dtype, [&]<class T>() {
    const T *from_a = static_cast<const T*>(a.data), *from_b = static_cast<const T*>(b.data);
    T* to = static_cast<T*>(y.data);
    parallel_for(y.size(), kGrain, [=](int64_t first, int64_t last) {
      METVOX_ISA_CALL(add_act_run<T>)
      (from_a + first, from_b + first, last - first, static_cast<float>(slope), to + first);
    });
  });
}

void add_act_backward(Stream& stream, View y, View dy, double slope, View dx, Grad grad) {
  if (grad == Grad::ignore) return;
  check_view("add_act", "y", y, dx.shape, dx.dtype);
  check_view("add_act", "dy", dy, dx.shape, dx.dtype);
  if (y.dtype == DType::f64) {
    const double *out = y.as<double>(), *gradient = dy.as<double>();
    double* to = dx.as<double>();
    return for_each(stream, y.size(),
                    [=](int64_t i) { put(to[i], out[i] > 0 ? gradient[i] : slope * gradient[i], grad); });
  }
  dispatch_bits(y.dtype, [&]<class T>() {
    const T *out = static_cast<const T*>(y.data), *gradient = static_cast<const T*>(dy.data);
    T* to = static_cast<T*>(dx.data);
    parallel_for(y.size(), kGrain, [=](int64_t first, int64_t last) {
      METVOX_ISA_CALL(add_act_back_run<T>)
      (out + first, gradient + first, last - first, static_cast<float>(slope), grad == Grad::accumulate, to + first);
    });
  });
}

}  // namespace metvox
