// SPDX-License-Identifier: Apache-2.0
// Windows of a volume on the GPU, a thread a voxel: neighbours in a row are neighbours in a warp. Not yet run on
// hardware.
#include "kernels/cuda/window.h"

#include "kernels/cuda/for_each.h"
#include "kernels/cuda/vector.h"
#include "kernels/window_bodies.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

template <class Body>
struct VoxelOfRow {
  Body body;
  int64_t width;
  METVOX_HD void operator()(int64_t i) const {
    const auto row = body.row(i / width);
    const int64_t w = i % width;
    if (w >= row.first && w < row.last) row(w);
  }
};

template <class Body>
void for_each_voxel(Stream& stream, const Body& body) {
  const int64_t width = body.at.patch[2];
  for_each(stream, body.rows() * width, VoxelOfRow<Body>{body, width});
}

}  // namespace

void cut_window(Stream& stream, View volume, const WindowPlace& at, View x) {
  dispatch_type(x.dtype, [&]<class T>() {
    for_each_voxel(stream, CutWindowBody<T>{volume.as<float>(), x.as<T>(), volume.shape[0], at});
  });
}

void blend_window(Stream& stream, View y, const WindowPlace& at, const WindowWeights& w, View sums) {
  dispatch_type(y.dtype, [&]<class T>() {
    const auto blend = [&]<class V>(V* to) {
      for_each_voxel(stream, BlendWindowBody<T, V>{y.as<T>(), to, sums.shape[0], sums.shape[1], w.voxels.as<float>(),
                                                   w.share, at});
    };
    if (sums.dtype == DType::f16) blend(sums.as<f16>());
    else blend(sums.as<float>());
  });
}

}  // namespace metvox::METVOX_KERNEL_NS
