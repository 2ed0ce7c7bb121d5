// SPDX-License-Identifier: Apache-2.0
#include "kernels/pointwise.h"

#include <cstring>

#include "kernels/cpu/bits.h"
#include "kernels/cuda/pointwise.h"
#include "kernels/launch.h"
#include "kernels/pointwise_bodies.h"
#include "kernels/pointwise_loops.h"

namespace metvox {
namespace {

void check_same(const char* op, View a, View b) {
  check(a.shape == b.shape && a.dtype == b.dtype, op, ": ", a.shape, ' ', name_of(a.dtype), " against ", b.shape, ' ',
        name_of(b.dtype));
}

template <class From, class To>
void convert_elements(Stream& stream, View x, View y) {
  for_each(stream, x.size(), ConvertBody<From, To>{x.as<From>(), y.as<To>()});
}

template <class To>
void convert_from(Stream& stream, View x, View y) {
  if (x.dtype == DType::u8) return convert_elements<uint8_t, To>(stream, x, y);
  if (x.dtype == DType::f16) return convert_elements<f16, To>(stream, x, y);
  dispatch_float(x.dtype, [&]<class From>() { convert_elements<From, To>(stream, x, y); });
}

void copy_bytes(View x, View y) {
  const char* from = static_cast<const char*>(x.data);
  char* to = static_cast<char*>(y.data);
  parallel_for(static_cast<int64_t>(x.bytes()), 4 * kElementGrain, [=](int64_t first, int64_t last) {
    std::memcpy(to + first, from + first, static_cast<size_t>(last - first));
  });
}

}  // namespace

void add(Stream& stream, View a, View b, View y) {
  check_same("add", a, b);
  check_same("add", a, y);
  METVOX_ON_DEVICE(stream, add(stream, a, b, y))
  if (y.dtype == DType::bf16)
    return parallel_for(y.size(), kElementGrain, [=](int64_t first, int64_t last) {
      METVOX_ISA_CALL(add_bf16)(bits<bf16>(a) + first, bits<bf16>(b) + first, last - first, bits<bf16>(y) + first);
    });
  dispatch_float(y.dtype, [&]<class T>() {
    if constexpr (!std::is_same_v<T, bf16>) {
      const T *from_a = a.as<T>(), *from_b = b.as<T>();
      T* to = y.as<T>();
      for_each(stream, y.size(), [=](int64_t i) { to[i] = from_a[i] + from_b[i]; });
    }
  });
}

void copy(Stream& stream, View x, View y, Grad grad) {
  check_same("copy", x, y);
  if (grad == Grad::accumulate) add(stream, y, x, y);
  if (grad != Grad::overwrite || x.data == y.data) return;
  if (stream.device().is_cpu()) copy_bytes(x, y);
  else transfer(stream, x, y);
}

void fill(Stream& stream, View y, double value) {
  METVOX_ON_DEVICE(stream, fill(stream, y, value))
  dispatch_float(y.dtype, [&]<class T>() {
    for_each(stream, y.size(), FillBody<T>{y.as<T>(), from_double<T>(value)});
  });
}

void convert(Stream& stream, View x, View y) {
  check(x.shape == y.shape, "convert: ", x.shape, " against ", y.shape);
  if (x.dtype == y.dtype) return copy(stream, x, y, Grad::overwrite);
  METVOX_ON_DEVICE(stream, convert(stream, x, y))
  if (x.dtype == DType::bf16 && y.dtype == DType::f32)
    return parallel_for(y.size(), kElementGrain, [=](int64_t first, int64_t last) {
      METVOX_ISA_CALL(bf16_to_f32)(bits<bf16>(x) + first, last - first, y.as<float>() + first);
    });
  if (x.dtype == DType::f32 && y.dtype == DType::bf16)
    return parallel_for(y.size(), kElementGrain, [=](int64_t first, int64_t last) {
      METVOX_ISA_CALL(f32_to_bf16)(x.as<float>() + first, last - first, bits<bf16>(y) + first);
    });
  if (y.dtype == DType::f16) return convert_from<f16>(stream, x, y);
  dispatch_float(y.dtype, [&]<class To>() { convert_from<To>(stream, x, y); });
}

void weighted_sum(Stream& stream, View x, View w, View y) {
  METVOX_ON_DEVICE(stream, weighted_sum(stream, x, w, y))
  dispatch_float(x.dtype, [&]<class T>() {
    double sum = 0;
    for (int64_t i = 0; i < x.size(); ++i) sum += to_double(w.as<float>()[i]) * to_double(x.as<T>()[i]);
    y.as<Master<T>>()[0] = static_cast<Master<T>>(sum);
  });
}

void weighted_sum_backward(Stream& stream, View w, View dy, View dx, Grad grad) {
  if (grad == Grad::ignore) return;
  METVOX_ON_DEVICE(stream, weighted_sum_backward(stream, w, dy, dx, grad))
  dispatch_float(dx.dtype, [&]<class T>() {
    for_each(stream, dx.size(), WeightedSumBackwardBody<T>{w.as<float>(), dy.as<Master<T>>(), dx.as<T>(), grad});
  });
}

}  // namespace metvox
