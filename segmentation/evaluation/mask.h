// SPDX-License-Identifier: Apache-2.0
// Masks: u8 (z, y, x), 1 inside. Boxes around what is inside, cut out and grown.
#pragma once
#include <cstring>

#include "segmentation/data/preprocess.h"

namespace metvox {

// Calls f(index) for every non-zero byte, in order. Most of a mask is empty: zeros are passed over eight at a time.
template <class F>
void for_each_nonzero(const uint8_t* bytes, int64_t n, F&& f) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes + i, 8);
    if (word == 0) continue;
    for (int64_t j = i; j < i + 8; ++j)
      if (bytes[j]) f(j);
  }
  for (; i < n; ++i)
    if (bytes[i]) f(i);
}

inline Int3 extent(const CropBox& box) {
  return {box.last[0] - box.first[0], box.last[1] - box.first[1], box.last[2] - box.first[2]};
}
inline bool is_empty(const CropBox& box) { return volume(extent(box)) == 0; }
// The smallest box around both; an empty one adds nothing.
CropBox joined(const CropBox& a, const CropBox& b);
// `voxels` more on every side, as far as the image goes.
CropBox grown(const CropBox& box, int64_t voxels, const Shape& image);

// A copy of what lies in the box; any type.
Tensor cropped(const Tensor& volume, const CropBox& box);
// u8, 1 where the volume (i32) holds `value` within the box.
Tensor mask_of(const Tensor& index, int32_t value, const CropBox& box);

// Every voxel inside also takes its neighbours by a face or an edge (18), so many times; what would lie beyond the
// volume is lost.
Tensor dilated(const Tensor& mask, int iterations);

}  // namespace metvox
