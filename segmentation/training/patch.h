// SPDX-License-Identifier: Apache-2.0
// Patch: one sample on its way from a preprocessed case to a batch. Planar (C, z, y, x) f32 with i8 labels while
// transforms work on it; -1 is outside.
#pragma once
#include <vector>

#include "tensor/shape.h"

namespace metvox {

// The box of a case that a sample may see. It may reach over the case's edge: there the data is 0 and the label -1.
struct Window {
  const float* data = nullptr;  // (C, z, y, x)
  const int8_t* seg = nullptr;  // (z, y, x)
  Int3 case_extent{};
  Int3 first{}, extent{};
};

struct Patch {
  Patch(int64_t channel_count, const Int3& patch_extent)
      : channels(channel_count),
        extent(patch_extent),
        data(static_cast<size_t>(channel_count * volume(patch_extent))),
        seg(static_cast<size_t>(volume(patch_extent))),
        scratch(static_cast<size_t>(volume(patch_extent))) {}

  int64_t voxels() const { return volume(extent); }
  float* channel(int64_t c) { return data.data() + c * voxels(); }
  const float* channel(int64_t c) const { return data.data() + c * voxels(); }
  static size_t bytes(int64_t channels, const Int3& extent) {
    return static_cast<size_t>(volume(extent)) * (static_cast<size_t>(channels + 1) * sizeof(float) + 1);
  }

  Window source;
  int64_t channels;
  Int3 extent;
  std::vector<float> data;
  std::vector<int8_t> seg;
  std::vector<float> scratch;  // a channel's size, for transforms that cannot work in place
};

// To a batch: images (D, H, W, C) f32, labels (D, H, W) u8 with -1 as 0.
void store(const Patch& patch, float* images, uint8_t* labels);

}  // namespace metvox
