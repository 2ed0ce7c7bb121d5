// SPDX-License-Identifier: Apache-2.0
// A sample and its extents, as kernels of augmentation index them.
#pragma once
#include "kernels/cuda/kernel.h"
#include "tensor/tensor.h"

namespace metvox::METVOX_KERNEL_NS {

// Extents of a volume (z, y, x) of fewer than 2^31 voxels, whose indices a GPU divides faster than those of 64 bits.
struct Box {
  int32_t extent[3];

  METVOX_HD int32_t voxels() const { return extent[0] * extent[1] * extent[2]; }
  METVOX_HD int32_t index(int32_t z, int32_t y, int32_t x) const { return (z * extent[1] + y) * extent[2] + x; }
  METVOX_HD void place(int64_t i, int32_t& z, int32_t& y, int32_t& x) const {
    const int32_t at = static_cast<int32_t>(i), row = at / extent[2];
    x = at - row * extent[2];
    z = row / extent[1];
    y = row - z * extent[1];
  }
};

inline Box box_of(const View& v) {
  const int last = v.shape.rank() - 1;
  return {static_cast<int32_t>(v.shape[last - 2]), static_cast<int32_t>(v.shape[last - 1]),
          static_cast<int32_t>(v.shape[last])};
}

struct Sample {
  const float* image;
  const int8_t* labels;
  Box box;
};
inline Sample sample_of(const View& image, const View& labels) {
  return {image.as<float>(), labels.as<int8_t>(), box_of(labels)};
}

}  // namespace metvox::METVOX_KERNEL_NS
