// SPDX-License-Identifier: Apache-2.0
// avg_pool on the GPU: a thread for each output of either pass, in accesses of 16 bytes. Not yet run on hardware.
#include "kernels/cuda/avg_pool.h"

#include "kernels/cuda/image_rows.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

struct Box {
  int z, y, x;
  explicit Box(const Int3& stride)
      : z(static_cast<int>(stride[0])), y(static_cast<int>(stride[1])), x(static_cast<int>(stride[2])) {}
  METVOX_DEVICE float share() const { return 1.0f / static_cast<float>(z * y * x); }
};

template <class T, int V>
__global__ void __launch_bounds__(kRowThreads) mean_of_box(const T* x, ImageShape in, Box box, ImageShape out, T* y) {
  const RowPlace<V> at(out.d, out.w, out.c);
  if (!at.inside) return;
  float sum[V] = {};
  for (int z = 0; z < box.z; ++z)
    for (int row = 0; row < box.y; ++row) {
      const T* from = x + in.offset(at.n, at.z * box.z + z, at.y * box.y + row, at.x * box.x) + at.channel;
#pragma unroll 2
      for (int i = 0; i < box.x; ++i) {
        Pack<T, V> pack;
        pack.load(from + i * in.c);
#pragma unroll
        for (int k = 0; k < V; ++k) sum[k] += pack.get(k);
      }
    }
#pragma unroll
  for (int k = 0; k < V; ++k) sum[k] *= box.share();
  Pack<T, V> pack;
  pack.set(sum);
  pack.store(y + out.offset(at.n, at.z, at.y, at.x) + at.channel);
}

template <class T, int V>
__global__ void __launch_bounds__(kRowThreads)
    spread_over_box(const T* dy, ImageShape out, Box box, ImageShape in, bool accumulate, T* dx) {
  const RowPlace<V> at(in.d, in.w, in.c);
  if (!at.inside) return;
  T* to = dx + in.offset(at.n, at.z, at.y, at.x) + at.channel;
  Pack<T, V> gradient, before;
  gradient.load(dy + out.offset(at.n, at.z / box.z, at.y / box.y, at.x / box.x) + at.channel);
  float v[V] = {};
  if (accumulate) before.load(to), before.get(v);
#pragma unroll
  for (int k = 0; k < V; ++k) v[k] += gradient.get(k) * box.share();
  gradient.set(v);
  gradient.store(to);
}

}  // namespace

void avg_pool(Stream& stream, View x, const Int3& stride, View y) {
  const Shape& s = y.shape;
  dispatch_type(y.dtype, [&]<class T>() {
    dispatch_vector<T>(s[1], [&]<int V>() {
      launch(mean_of_box<T, V>, row_grid(s[0], {s[2], s[3], s[4]}, s[1], V), dim3(kRowThreads), 0, stream, x.as<T>(),
             image_shape(x.shape), Box(stride), image_shape(s), y.as<T>());
    });
  });
}

void avg_pool_backward(Stream& stream, View dy, const Int3& stride, View dx, Grad grad) {
  const Shape& s = dx.shape;
  dispatch_type(dx.dtype, [&]<class T>() {
    dispatch_vector<T>(s[1], [&]<int V>() {
      launch(spread_over_box<T, V>, row_grid(s[0], {s[2], s[3], s[4]}, s[1], V), dim3(kRowThreads), 0, stream,
             dy.as<T>(), image_shape(dy.shape), Box(stride), image_shape(s), grad == Grad::accumulate, dx.as<T>());
    });
  });
}

}  // namespace metvox::METVOX_KERNEL_NS
