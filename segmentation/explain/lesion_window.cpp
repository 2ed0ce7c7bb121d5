// SPDX-License-Identifier: Apache-2.0
#include "segmentation/explain/lesion_window.h"

#include <algorithm>

namespace metvox {

namespace {

// f(index in the patch, index in the case) for every voxel of the patch that lies in the case.
template <class F>
void for_each_shared(const Int3& first, const Int3& patch, const Int3& size, F&& f) {
  for (int64_t z = 0; z < patch[0]; ++z)
    for (int64_t y = 0; y < patch[1]; ++y)
      for (int64_t x = 0; x < patch[2]; ++x) {
        const Int3 at{first[0] + z, first[1] + y, first[2] + x};
        bool inside = true;
        for (int a = 0; a < 3; ++a) inside = inside && at[a] >= 0 && at[a] < size[a];
        if (inside) f((z * patch[1] + y) * patch[2] + x, (at[0] * size[1] + at[1]) * size[2] + at[2]);
      }
}

}  // namespace

LesionWindow window_around(const Tensor& lesion, const Tensor& data, const Int3& patch) {
  const Shape& n = data.shape();
  const Int3 size{n[1], n[2], n[3]};
  const CropBox box = bounding_box(lesion);
  LesionWindow w;
  for (int a = 0; a < 3; ++a) {
    const int64_t room = size[a] - patch[a], centred = (box.first[a] + box.last[a] - patch[a]) / 2;
    w.first[a] = room >= 0 ? std::clamp<int64_t>(centred, 0, room) : room / 2;
  }
  w.data = Tensor::zeros({n[0], patch[0], patch[1], patch[2]}, DType::f32);
  w.mask = Tensor::zeros({patch[0], patch[1], patch[2]}, DType::u8);
  for_each_shared(w.first, patch, size, [&](int64_t to, int64_t from) {
    w.mask.data<uint8_t>()[to] = lesion.data<uint8_t>()[from];
    w.voxels += lesion.data<uint8_t>()[from];
    for (int64_t c = 0; c < n[0]; ++c)
      w.data.data<float>()[c * volume(patch) + to] = data.data<float>()[c * volume(size) + from];
  });
  check(w.voxels > 0, "window_around: no lesion");
  w.box = bounding_box(w.mask);
  return w;
}

Tensor placed(const Tensor& map, const LesionWindow& window, const Int3& size) {
  const Shape& n = map.shape();
  const Tensor out = Tensor::zeros({1, size[0], size[1], size[2]}, DType::f32);
  for_each_shared(window.first, {n[0], n[1], n[2]}, size,
                  [&](int64_t from, int64_t to) { out.data<float>()[to] = map.data<float>()[from]; });
  return out;
}

}  // namespace metvox
