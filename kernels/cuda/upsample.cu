// SPDX-License-Identifier: Apache-2.0
// upsample on the GPU. Forward, a thread has the 2 x 2 x 2 outputs between as many inputs, so that each is read about
// once. Backward, a thread walks along z with the sums of output planes that two inputs share: no atomics. Not yet run
// on hardware.
#include <algorithm>

#include "kernels/cuda/image_rows.h"
#include "kernels/upsample_engines.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

constexpr int kWalk = 8;  // inputs along z that a thread takes; more read fewer planes twice, but fill fewer blocks

// The values at a quarter and at three quarters of the way from a to b.
template <int V>
METVOX_DEVICE void quarters(float (&a)[V], float (&b)[V]) {
#pragma unroll
  for (int k = 0; k < V; ++k) {
    const float near_a = 0.75f * a[k] + 0.25f * b[k];
    b[k] = 0.25f * a[k] + 0.75f * b[k];
    a[k] = near_a;
  }
}

// Cell (z, y, x) lies between inputs z - 1 and z, beyond the edge the last one again; its outputs are 2 z - 1 and 2 z.
template <class T, int V>
__global__ void __launch_bounds__(kRowThreads) upsample_cells(const T* x, ImageShape in, T* y) {
  const RowPlace<V> at(in.d + 1, in.w + 1, in.c);
  if (!at.inside) return;
  Pack<T, V> packs[2][2][2];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int z = min(max(at.z - 1 + i / 4, 0), in.d - 1), row = min(max(at.y - 1 + i / 2 % 2, 0), in.h - 1);
    const int column = min(max(at.x - 1 + i % 2, 0), in.w - 1);
    packs[i / 4][i / 2 % 2][i % 2].load(x + in.offset(at.n, z, row, column) + at.channel);
  }
  float v[2][2][2][V];
#pragma unroll
  for (int i = 0; i < 8; ++i) packs[i / 4][i / 2 % 2][i % 2].get(v[i / 4][i / 2 % 2][i % 2]);
#pragma unroll
  for (int i = 0; i < 4; ++i) quarters(v[i / 2][i % 2][0], v[i / 2][i % 2][1]);
#pragma unroll
  for (int i = 0; i < 4; ++i) quarters(v[i / 2][0][i % 2], v[i / 2][1][i % 2]);
#pragma unroll
  for (int i = 0; i < 4; ++i) quarters(v[0][i / 2][i % 2], v[1][i / 2][i % 2]);
  const ImageShape out{2 * in.d, 2 * in.h, 2 * in.w, in.c};
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int z = 2 * at.z - 1 + i / 4, row = 2 * at.y - 1 + i / 2 % 2, column = 2 * at.x - 1 + i % 2;
    if (z < 0 || z >= out.d || row < 0 || row >= out.h || column < 0 || column >= out.w) continue;
    Pack<T, V> pack;
    pack.set(v[i / 4][i / 2 % 2][i % 2]);
    pack.store(y + out.offset(at.n, z, row, column) + at.channel);
  }
}

// How much of outputs 2 i - 1 to 2 i + 2 is input i, of n.
struct Shares {
  float of[4];
  METVOX_DEVICE Shares(int i, int n) {
    of[0] = i > 0 ? 0.25f : 0.0f, of[1] = i > 0 ? 0.75f : 1.0f;
    of[2] = i + 1 < n ? 0.75f : 1.0f, of[3] = i + 1 < n ? 0.25f : 0.0f;
  }
};

// What one plane of dy holds for input (., y, x).
template <class T, int V>
METVOX_DEVICE void plane_sum(const T* plane, const ImageShape& out, const RowPlace<V>& at, const Shares& rows,
                             const Shares& columns, float (&sum)[V]) {
#pragma unroll
  for (int k = 0; k < V; ++k) sum[k] = 0;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    const float share = rows.of[i / 4] * columns.of[i % 4];
    if (share == 0) continue;
    Pack<T, V> pack;
    pack.load(plane + out.offset(0, 0, 2 * at.y - 1 + i / 4, 2 * at.x - 1 + i % 4) + at.channel);
#pragma unroll
    for (int k = 0; k < V; ++k) sum[k] += share * pack.get(k);
  }
}

template <class T, int V>
__global__ void __launch_bounds__(kRowThreads)
    upsample_gather(const T* dy, ImageShape in, int walks, bool accumulate, T* dx) {
  const RowPlace<V> at(walks, in.w, in.c);
  if (!at.inside) return;
  const ImageShape out{2 * in.d, 2 * in.h, 2 * in.w, in.c};
  const Shares rows(at.y, in.h), columns(at.x, in.w);
  const int first = at.z * kWalk, last = min(first + kWalk, in.d);
  const auto plane = [&](int z, float(&sum)[V]) {
    plane_sum(dy + out.offset(at.n, z, 0, 0), out, at, rows, columns, sum);
  };
  float sums[4][V] = {};  // of planes 2 z - 1 to 2 z + 2
  if (first > 0) plane(2 * first - 1, sums[0]);
  plane(2 * first, sums[1]);
  for (int z = first; z < last; ++z) {
    plane(2 * z + 1, sums[2]);
    if (z + 1 < in.d) plane(2 * z + 2, sums[3]);
    const Shares share(z, in.d);
    T* to = dx + in.offset(at.n, z, at.y, at.x) + at.channel;
    Pack<T, V> pack;
    float v[V] = {};
    if (accumulate) pack.load(to), pack.get(v);
#pragma unroll
    for (int k = 0; k < V; ++k) {
      v[k] += share.of[0] * sums[0][k] + share.of[1] * sums[1][k] + share.of[2] * sums[2][k] + share.of[3] * sums[3][k];
      sums[0][k] = sums[2][k], sums[1][k] = sums[3][k];
    }
    pack.set(v);
    pack.store(to);
  }
}

template <class T>
class DeviceUpsample final : public Upsample {
 public:
  explicit DeviceUpsample(const UpsampleProblem& problem) : p_(problem) {}

  void forward(Stream& stream, View x, View y, void*) const override {
    p_.check_views(x, y);
    const Int3 cells{p_.in[0] + 1, p_.in[1] + 1, p_.in[2] + 1};
    dispatch_vector<T>(p_.c, [&]<int V>() {
      launch(upsample_cells<T, V>, row_grid(p_.n, cells, p_.c, V), dim3(kRowThreads), 0, stream, x.as<T>(),
             image_shape(p_.x_shape()), y.as<T>());
    });
  }
  void backward(Stream& stream, View dy, View dx, Grad grad, void*) const override {
    if (grad == Grad::ignore) return;
    p_.check_views(dx, dy);
    const int64_t walks = (p_.in[0] + kWalk - 1) / kWalk;
    dispatch_vector<T>(p_.c, [&]<int V>() {
      launch(upsample_gather<T, V>, row_grid(p_.n, {walks, p_.in[1], p_.in[2]}, p_.c, V), dim3(kRowThreads), 0, stream,
             dy.as<T>(), image_shape(p_.x_shape()), walks, grad == Grad::accumulate, dx.as<T>());
    });
  }

 private:
  const UpsampleProblem p_;
};

}  // namespace

Engine<UpsampleProblem, Upsample> upsample_native() {
  return {"native", kKernelDevice,
          [](const UpsampleProblem& problem) -> std::optional<std::string> {
            if (problem.dtype == DType::f64) return "f64 is the CPU's";
            return std::nullopt;
          },
          [](const UpsampleProblem& problem) {
            problem.validate();
            std::unique_ptr<Upsample> kernel;
            dispatch_type(problem.dtype, [&]<class T>() { kernel = std::make_unique<DeviceUpsample<T>>(problem); });
            return kernel;
          }};
}

}  // namespace metvox::METVOX_KERNEL_NS
