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
  const int8_t* previous = nullptr;  // (z, y, x), what the previous stage of a cascade said
};

struct Patch {
  // previous_labels: of a cascade, how many labels the previous stage tells apart (1, 2, ...).
  Patch(int64_t channel_count, const Int3& patch_extent, int64_t previous_label_count = 0)
      : channels(channel_count),
        previous_labels(previous_label_count),
        extent(patch_extent),
        data(static_cast<size_t>(channel_count * volume(patch_extent))),
        seg(static_cast<size_t>(volume(patch_extent))),
        previous(static_cast<size_t>(previous_label_count > 0 ? volume(patch_extent) : 0)),
        scratch(static_cast<size_t>(volume(patch_extent))) {}

  int64_t voxels() const { return volume(extent); }
  float* channel(int64_t c) { return data.data() + c * voxels(); }
  const float* channel(int64_t c) const { return data.data() + c * voxels(); }
  // What the network sees: the images, and a mask for each label of the previous stage.
  int64_t input_channels() const { return channels + previous_labels; }
  static size_t bytes(int64_t channels, const Int3& extent, int64_t previous_labels) {
    return static_cast<size_t>(volume(extent)) *
           (static_cast<size_t>(channels + 1) * sizeof(float) + (previous_labels > 0 ? 2 : 1));
  }

  Window source;
  int64_t channels, previous_labels;
  Int3 extent;
  std::vector<float> data;
  std::vector<int8_t> seg, previous;
  std::vector<float> scratch;  // a channel's size, for transforms that cannot work in place
};

// To a batch: images (D, H, W, C) f32, C the input channels, labels (D, H, W) u8 with -1 as 0.
void store(const Patch& patch, float* images, uint8_t* labels);

}  // namespace metvox
