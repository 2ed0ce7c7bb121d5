// SPDX-License-Identifier: Apache-2.0
#include "kernels/pointwise.h"

#include "kernels/launch.h"

namespace metvox {
namespace {

// Arithmetic type of T: itself, or float for bf16.
template <class T>
using Arithmetic = std::conditional_t<std::is_same_v<T, bf16>, float, T>;

void check_same(const char* op, View a, View b) {
  check(a.shape == b.shape && a.dtype == b.dtype, op, ": ", a.shape, ' ', name_of(a.dtype), " against ", b.shape, ' ',
        name_of(b.dtype));
}

template <class From, class To>
void convert_elements(Stream& stream, View x, View y) {
  const From* from = x.as<From>();
  To* to = y.as<To>();
  for_each(stream, x.size(), [=](int64_t i) {
    to[i] = static_cast<To>(static_cast<Arithmetic<To>>(static_cast<Arithmetic<From>>(from[i])));
  });
}

}  // namespace

void add(Stream& stream, View a, View b, View y) {
  check_same("add", a, b);
  check_same("add", a, y);
  dispatch_float(y.dtype, [&]<class T>() {
    using A = Arithmetic<T>;
    const T *from_a = a.as<T>(), *from_b = b.as<T>();
    T* to = y.as<T>();
    for_each(stream, y.size(), [=](int64_t i) { to[i] = T(static_cast<A>(from_a[i]) + static_cast<A>(from_b[i])); });
  });
}

void copy(Stream& stream, View x, View y, Grad grad) {
  check_same("copy", x, y);
  if (grad == Grad::accumulate) add(stream, y, x, y);
  if (grad == Grad::overwrite) convert(stream, x, y);
}

void fill(Stream& stream, View y, double value) {
  dispatch_float(y.dtype, [&]<class T>() {
    T* to = y.as<T>();
    const T filling = T(static_cast<Arithmetic<T>>(value));
    for_each(stream, y.size(), [=](int64_t i) { to[i] = filling; });
  });
}

void convert(Stream& stream, View x, View y) {
  check(x.shape == y.shape, "convert: ", x.shape, " against ", y.shape);
  dispatch_float(y.dtype, [&]<class To>() {
    if (x.dtype == DType::u8) return convert_elements<uint8_t, To>(stream, x, y);
    dispatch_float(x.dtype, [&]<class From>() { convert_elements<From, To>(stream, x, y); });
  });
}

}  // namespace metvox
