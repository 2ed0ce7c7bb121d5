// SPDX-License-Identifier: Apache-2.0
#include "kernels/add_act.h"

#include "kernels/add_act_loops.h"
#include "kernels/check_view.h"
#include "kernels/convert.h"
#include "kernels/cpu/bits.h"
#include "kernels/cuda/add_act.h"
#include "tensor/threads.h"

namespace metvox {
namespace {}  // namespace

void add_act(Stream& stream, View a, View b, double slope, View y) {
  check(slope > 0, "add_act: slope ", slope, " is not above 0");
  check_view("add_act", "a", a, y.shape, y.dtype);
  check_view("add_act", "b", b, y.shape, y.dtype);
  METVOX_ON_DEVICE(stream, add_act(stream, a, b, slope, y))
  dispatch_float(y.dtype, [&]<class T>() {
    auto *from_a = bits<T>(a), *from_b = bits<T>(b), *to = bits<T>(y);
    parallel_for(y.size(), kElementGrain, [=](int64_t first, int64_t last) {
      if constexpr (std::is_same_v<T, double>)
        for (int64_t i = first; i < last; ++i) {
          const double h = from_a[i] + from_b[i];
          to[i] = h > 0 ? h : slope * h;
        }
      else METVOX_ISA_CALL(add_act_run<Bits<T>>)
      (from_a + first, from_b + first, last - first, static_cast<float>(slope), to + first);
    });
  });
}

void add_act_backward(Stream& stream, View y, View dy, double slope, View dx, Grad grad) {
  if (grad == Grad::ignore) return;
  check_view("add_act", "y", y, dx.shape, dx.dtype);
  check_view("add_act", "dy", dy, dx.shape, dx.dtype);
  METVOX_ON_DEVICE(stream, add_act_backward(stream, y, dy, slope, dx, grad))
  dispatch_float(dx.dtype, [&]<class T>() {
    auto *out = bits<T>(y), *gradient = bits<T>(dy), *to = bits<T>(dx);
    parallel_for(dx.size(), kElementGrain, [=](int64_t first, int64_t last) {
      if constexpr (std::is_same_v<T, double>)
        for (int64_t i = first; i < last; ++i) put(to[i], out[i] > 0 ? gradient[i] : slope * gradient[i], grad);
      else METVOX_ISA_CALL(add_act_back_run<Bits<T>>)
      (out + first, gradient + first, last - first, static_cast<float>(slope), grad == Grad::accumulate, to + first);
    });
  });
}

}  // namespace metvox
