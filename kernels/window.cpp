// SPDX-License-Identifier: Apache-2.0
#include "kernels/window.h"

#include "kernels/cuda/window.h"
#include "kernels/window_bodies.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

void check_window(const char* op, View volume, const WindowPlace& at, View window) {
  const int64_t c = volume.shape[0];
  check(volume.shape == Shape{c, at.size[0], at.size[1], at.size[2]} &&
            window.shape == Shape{1, c, at.patch[0], at.patch[1], at.patch[2]},
        op, ": window ", window.shape, ", volume ", volume.shape);
}

template <class Body>
void for_each_row(const Body& body) {
  parallel_for(body.rows(), 64, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const auto row = body.row(i);
      for (int64_t w = row.first; w < row.last; ++w) row(w);
    }
  });
}

}  // namespace

void cut_window(Stream& stream, View volume, const WindowPlace& at, View x) {
  check_window("cut_window", volume, at, x);
  METVOX_ON_DEVICE(stream, cut_window(stream, volume, at, x))
  dispatch_float(x.dtype, [&]<class T>() {
    for_each_row(CutWindowBody<T>{volume.as<float>(), x.as<T>(), volume.shape[0], at});
  });
}

void blend_window(Stream& stream, View y, const WindowPlace& at, const WindowWeights& w, View volume) {
  check_window("blend_window", volume, at, y);
  check(w.voxels.shape == Shape{at.patch[0], at.patch[1], at.patch[2]}, "blend_window: weights ", w.voxels.shape);
  METVOX_ON_DEVICE(stream, blend_window(stream, y, at, w, volume))
  dispatch_float(y.dtype, [&]<class T>() {
    const auto blend = [&]<class V>(V* sums) {
      for_each_row(BlendWindowBody<T, V>{y.as<T>(), sums, volume.shape[0], w.voxels.as<float>(), w.share, at});
    };
    if (volume.dtype == DType::f16) blend(volume.as<f16>());
    else blend(volume.as<float>());
  });
}

}  // namespace metvox
