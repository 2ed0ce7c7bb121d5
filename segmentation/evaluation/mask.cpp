// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/mask.h"

#include <algorithm>

#include "segmentation/evaluation/border.h"

namespace metvox {

CropBox joined(const CropBox& a, const CropBox& b) {
  if (is_empty(a)) return b;
  if (is_empty(b)) return a;
  CropBox box;
  for (size_t d = 0; d < 3; ++d) {
    box.first[d] = std::min(a.first[d], b.first[d]);
    box.last[d] = std::max(a.last[d], b.last[d]);
  }
  return box;
}

CropBox grown(const CropBox& box, int64_t voxels, const Shape& image) {
  CropBox out;
  for (size_t d = 0; d < 3; ++d) {
    out.first[d] = std::max<int64_t>(box.first[d] - voxels, 0);
    out.last[d] = std::min(box.last[d] + voxels, image[static_cast<int>(d)]);
  }
  return out;
}

Tensor cropped(const Tensor& volume, const CropBox& box) {
  const Shape& n = volume.shape();
  const Int3 e = extent(box);
  Tensor out = Tensor::empty({e[0], e[1], e[2]}, volume.dtype());
  const size_t size = size_of(volume.dtype()), line = static_cast<size_t>(e[2]) * size;
  const auto* from = static_cast<const std::byte*>(volume.view().data);
  auto* to = static_cast<std::byte*>(out.view().data);
  for (int64_t z = 0; z < e[0]; ++z)
    for (int64_t y = 0; y < e[1]; ++y, to += line)
      std::memcpy(
          to, from + static_cast<size_t>(((z + box.first[0]) * n[1] + y + box.first[1]) * n[2] + box.first[2]) * size,
          line);
  return out;
}

Tensor mask_of(const Tensor& index, int32_t value, const CropBox& box) {
  const Shape& n = index.shape();
  const Int3 e = extent(box);
  Tensor mask = Tensor::empty({e[0], e[1], e[2]}, DType::u8);
  uint8_t* out = mask.data<uint8_t>();
  for (int64_t z = box.first[0]; z < box.last[0]; ++z)
    for (int64_t y = box.first[1]; y < box.last[1]; ++y) {
      const int32_t* line = index.data<int32_t>() + (z * n[1] + y) * n[2];
      for (int64_t x = box.first[2]; x < box.last[2]; ++x) *out++ = line[x] == value;
    }
  return mask;
}

Tensor dilated(const Tensor& mask, int iterations) {
  const Shape& n = mask.shape();
  Tensor before = mask, after = mask.clone();
  for (int i = 0; i < iterations; ++i, before = after.clone())
    for (const Int3& p : border_voxels(before))  // what is deeper inside adds nothing
      for (int64_t dz = -1; dz <= 1; ++dz)
        for (int64_t dy = -1; dy <= 1; ++dy)
          for (int64_t dx = -1; dx <= 1; ++dx) {
            if (dz * dy * dx != 0) continue;  // a corner
            const Int3 q{p[0] + dz, p[1] + dy, p[2] + dx};
            if (q[0] < 0 || q[1] < 0 || q[2] < 0 || q[0] >= n[0] || q[1] >= n[1] || q[2] >= n[2]) continue;
            after.data<uint8_t>()[(q[0] * n[1] + q[1]) * n[2] + q[2]] = 1;
          }
  return after;
}

}  // namespace metvox
