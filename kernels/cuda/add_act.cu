// SPDX-License-Identifier: Apache-2.0
// add_act on the GPU: bound by memory, in accesses of 16 bytes where all ends are aligned. Not yet run on hardware.
#include "kernels/cuda/add_act.h"

#include "kernels/cuda/for_each.h"
#include "kernels/cuda/vector.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

template <class T, int V>
METVOX_DEVICE void sum_act(const T* a, const T* b, float slope, T* y) {
  Pack<T, V> one, other;
  one.load(a), other.load(b);
  float v[V];
#pragma unroll
  for (int k = 0; k < V; ++k) {
    const float h = one.get(k) + other.get(k);
    v[k] = h > 0 ? h : slope * h;
  }
  one.set(v);
  one.store(y);
}

template <class T, int V>
METVOX_DEVICE void sum_act_back(const T* y, const T* dy, float slope, bool accumulate, T* dx) {
  Pack<T, V> out, gradient, before;
  out.load(y), gradient.load(dy);
  float v[V] = {};
  if (accumulate) before.load(dx), before.get(v);
#pragma unroll
  for (int k = 0; k < V; ++k) v[k] += out.get(k) > 0 ? gradient.get(k) : slope * gradient.get(k);
  out.set(v);
  out.store(dx);
}

// The first `packs` accesses of 16 bytes as such, the rest of n elements one by one.
template <class T>
__global__ void __launch_bounds__(kEachThreads)
    add_act_each(int64_t n, int64_t packs, const T* a, const T* b, float slope, T* y) {
  constexpr int V = kVector<T>;
  for (int64_t i = each_first(); i < packs; i += each_step()) sum_act<T, V>(a + i * V, b + i * V, slope, y + i * V);
  for (int64_t i = packs * V + each_first(); i < n; i += each_step()) sum_act<T, 1>(a + i, b + i, slope, y + i);
}
template <class T>
__global__ void __launch_bounds__(kEachThreads)
    add_act_back_each(int64_t n, int64_t packs, const T* y, const T* dy, float slope, bool accumulate, T* dx) {
  constexpr int V = kVector<T>;
  for (int64_t i = each_first(); i < packs; i += each_step())
    sum_act_back<T, V>(y + i * V, dy + i * V, slope, accumulate, dx + i * V);
  for (int64_t i = packs * V + each_first(); i < n; i += each_step())
    sum_act_back<T, 1>(y + i, dy + i, slope, accumulate, dx + i);
}

template <class T, class... P>
int64_t packs_of(int64_t n, const P*... p) {
  const bool aligned = ((reinterpret_cast<uintptr_t>(p) % 16 == 0) && ...);
  return aligned ? n / kVector<T> : 0;
}

}  // namespace

void add_act(Stream& stream, View a, View b, double slope, View y) {
  const int64_t n = y.size();
  if (n == 0) return;
  dispatch_type(y.dtype, [&]<class T>() {
    const int64_t packs = packs_of<T>(n, a.as<T>(), b.as<T>(), y.as<T>());
    launch(add_act_each<T>, each_grid(packs ? packs : n), dim3(kEachThreads), 0, stream, n, packs, a.as<T>(), b.as<T>(),
           static_cast<float>(slope), y.as<T>());
  });
}

void add_act_backward(Stream& stream, View y, View dy, double slope, View dx, Grad grad) {
  const int64_t n = dx.size();
  if (n == 0) return;
  dispatch_type(dx.dtype, [&]<class T>() {
    const int64_t packs = packs_of<T>(n, y.as<T>(), dy.as<T>(), dx.as<T>());
    launch(add_act_back_each<T>, each_grid(packs ? packs : n), dim3(kEachThreads), 0, stream, n, packs, y.as<T>(),
           dy.as<T>(), static_cast<float>(slope), grad == Grad::accumulate, dx.as<T>());
  });
}

}  // namespace metvox::METVOX_KERNEL_NS
