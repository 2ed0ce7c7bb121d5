// SPDX-License-Identifier: Apache-2.0
// Pointwise work on the GPU: bound by memory, so eight neighbours a thread in accesses of 16 bytes, where both ends are
// aligned. Not yet run on hardware.
#include "kernels/cuda/pointwise.h"

#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/for_each.h"
#include "kernels/cuda/vector.h"
#include "kernels/pointwise_bodies.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

constexpr int kNeighbours = 8;

// Neighbours as floats.
template <class T>
struct Eight {
  static constexpr int kPacks = kNeighbours / kVector<T>;
  float v[kPacks][kVector<T>];

  METVOX_DEVICE void load(const T* p) {
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      Pack<T, kVector<T>> pack;
      pack.load(p + k * kVector<T>);
      pack.get(v[k]);
    }
  }
  METVOX_DEVICE void store(T* p) const {
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      Pack<T, kVector<T>> pack;
      pack.set(v[k]);
      pack.store(p + k * kVector<T>);
    }
  }
  METVOX_DEVICE float& operator[](int i) { return v[i / kVector<T>][i % kVector<T>]; }
};

// The first 8 `eights` elements in eights, the rest one by one.
template <class T>
__global__ void __launch_bounds__(kEachThreads) sum_of_two(int64_t n, int64_t eights, const T* a, const T* b, T* y) {
  for (int64_t i = each_first(); i < eights; i += each_step()) {
    Eight<T> one, other;
    one.load(a + i * kNeighbours);
    other.load(b + i * kNeighbours);
#pragma unroll
    for (int k = 0; k < kNeighbours; ++k) one[k] += other[k];
    one.store(y + i * kNeighbours);
  }
  for (int64_t i = eights * kNeighbours + each_first(); i < n; i += each_step())
    y[i] = from_float<T>(to_float(a[i]) + to_float(b[i]));
}

template <class From, class To>
__global__ void __launch_bounds__(kEachThreads) to_type(int64_t n, int64_t eights, const From* x, To* y) {
  for (int64_t i = each_first(); i < eights; i += each_step()) {
    Eight<From> from;
    Eight<To> to;
    from.load(x + i * kNeighbours);
#pragma unroll
    for (int k = 0; k < kNeighbours; ++k) to[k] = from[k];
    to.store(y + i * kNeighbours);
  }
  for (int64_t i = eights * kNeighbours + each_first(); i < n; i += each_step()) y[i] = from_float<To>(to_float(x[i]));
}

template <class T>
__global__ void __launch_bounds__(512) sum_weighted(const T* x, const float* w, int64_t n, float* y) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
    sum += static_cast<double>(w[i]) * static_cast<double>(to_float(x[i]));
  sum = block_sum(sum);
  if (threadIdx.x == 0) *y = static_cast<float>(sum);
}

// How many eights there are that can be read as such.
template <class... P>
int64_t eights_of(int64_t n, const P*... p) {
  const bool aligned = ((reinterpret_cast<uintptr_t>(p) % 16 == 0) && ...);
  return aligned ? n / kNeighbours : 0;
}

template <class From, class To>
void convert_elements(Stream& stream, View x, View y) {
  for_each(stream, y.size(), ConvertBody<From, To>{x.as<From>(), y.as<To>()});
}

}  // namespace

void add(Stream& stream, View a, View b, View y) {
  const int64_t n = y.size();
  if (n == 0) return;
  dispatch_type(y.dtype, [&]<class T>() {
    const int64_t eights = eights_of(n, a.as<T>(), b.as<T>(), y.as<T>());
    launch(sum_of_two<T>, each_grid(eights ? eights : n), dim3(kEachThreads), 0, stream, n, eights, a.as<T>(),
           b.as<T>(), y.as<T>());
  });
}

void fill(Stream& stream, View y, double value) {
  if (y.dtype == DType::f64) return for_each(stream, y.size(), FillBody<double>{y.as<double>(), value});
  dispatch_type(y.dtype, [&]<class T>() { for_each(stream, y.size(), FillBody<T>{y.as<T>(), from_double<T>(value)}); });
}

void convert(Stream& stream, View x, View y) {
  const int64_t n = y.size();
  if (n == 0) return;
  if (y.dtype == DType::f64)
    return dispatch_type(x.dtype, [&]<class From>() { convert_elements<From, double>(stream, x, y); });
  dispatch_type(y.dtype, [&]<class To>() {
    if (x.dtype == DType::f64) return convert_elements<double, To>(stream, x, y);
    if (x.dtype == DType::u8) return convert_elements<uint8_t, To>(stream, x, y);
    dispatch_type(x.dtype, [&]<class From>() {
      const int64_t eights = eights_of(n, x.as<From>(), y.as<To>());
      launch(to_type<From, To>, each_grid(eights ? eights : n), dim3(kEachThreads), 0, stream, n, eights, x.as<From>(),
             y.as<To>());
    });
  });
}

void weighted_sum(Stream& stream, View x, View w, View y) {
  dispatch_type(x.dtype, [&]<class T>() {
    launch(sum_weighted<T>, dim3(1), sum_threads(x.size(), 4), 0, stream, x.as<T>(), w.as<float>(), x.size(),
           y.as<float>());
  });
}

void weighted_sum_backward(Stream& stream, View w, View dy, View dx, Grad grad) {
  dispatch_type(dx.dtype, [&]<class T>() {
    for_each(stream, dx.size(), WeightedSumBackwardBody<T>{w.as<float>(), dy.as<float>(), dx.as<T>(), grad});
  });
}

}  // namespace metvox::METVOX_KERNEL_NS
