// SPDX-License-Identifier: Apache-2.0
// A grid over an image (N, D, H, W, C): threads along a row of voxels and their channels, blocks for y and (sample, z).
#pragma once
#include "kernels/cuda/vector.h"
#include "tensor/shape.h"

namespace metvox::METVOX_KERNEL_NS {

constexpr int kRowThreads = 128;

inline dim3 row_grid(int64_t n, const Int3& extent, int64_t c, int vector) {
  const int64_t threads = extent[2] * c / vector;
  return {static_cast<unsigned>((threads + kRowThreads - 1) / kRowThreads), static_cast<unsigned>(extent[1]),
          static_cast<unsigned>(n * extent[0])};
}

// The voxel of a thread in an image of extents (d, ., w), and the first of its V channels.
template <int V>
struct RowPlace {
  int n, z, y, x, channel;
  bool inside;

  METVOX_DEVICE RowPlace(int d, int w, int c) {
    const int i = static_cast<int>(blockIdx.x) * kRowThreads + static_cast<int>(threadIdx.x), accesses = c / V;
    n = static_cast<int>(blockIdx.z) / d;
    z = static_cast<int>(blockIdx.z) % d;
    y = static_cast<int>(blockIdx.y);
    x = i / accesses;
    channel = i % accesses * V;
    inside = x < w;
  }
};

// Where images of extents (d, h, w) lie.
struct ImageShape {
  int d, h, w, c;
  METVOX_DEVICE int64_t offset(int n, int z, int y, int x) const {
    return (((static_cast<int64_t>(n) * d + z) * h + y) * w + x) * c;
  }
};
inline ImageShape image_shape(const Shape& s) {
  return {static_cast<int>(s[2]), static_cast<int>(s[3]), static_cast<int>(s[4]), static_cast<int>(s[1])};
}

}  // namespace metvox::METVOX_KERNEL_NS
