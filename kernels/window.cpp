// SPDX-License-Identifier: Apache-2.0
#include "kernels/window.h"

#include <algorithm>

#include "kernels/cuda/window.h"
#include "kernels/window_bodies.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

void check_window(const char* op, View volume, int64_t planes, const WindowPlace& at, View window) {
  const int64_t c = volume.shape[0];
  check(volume.shape == Shape{c, planes, at.size[1], at.size[2]} &&
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
  check_window("cut_window", volume, at.size[0], at, x);
  METVOX_ON_DEVICE(stream, cut_window(stream, volume, at, x))
  dispatch_float(x.dtype, [&]<class T>() {
    for_each_row(CutWindowBody<T>{volume.as<float>(), x.as<T>(), volume.shape[0], at});
  });
}

void blend_window(Stream& stream, View y, const WindowPlace& at, const WindowWeights& w, View sums) {
  const int64_t planes = sums.shape[1];
  check_window("blend_window", sums, planes, at, y);
  check(planes >= std::min(at.size[0], at.patch[0]) && planes <= at.size[0], "blend_window: ", planes, " planes");
  check(w.voxels.shape == Shape{at.patch[0], at.patch[1], at.patch[2]}, "blend_window: weights ", w.voxels.shape);
  METVOX_ON_DEVICE(stream, blend_window(stream, y, at, w, sums))
  dispatch_float(y.dtype, [&]<class T>() {
    const auto blend = [&]<class V>(V* to) {
      for_each_row(BlendWindowBody<T, V>{y.as<T>(), to, sums.shape[0], planes, w.voxels.as<float>(), w.share, at});
    };
    if (sums.dtype == DType::f16) blend(sums.as<f16>());
    else blend(sums.as<float>());
  });
}

}  // namespace metvox
