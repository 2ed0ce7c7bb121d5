// SPDX-License-Identifier: Apache-2.0
// Patch: one sample on its way from a preprocessed case to a batch, on the device that trains. Planar (C, z, y, x) f32
// with i8 labels while transforms work on it; -1 is outside.
#pragma once
#include <optional>
#include <vector>

#include "tensor/async.h"

namespace metvox {

// The box of a case that a sample may see. It may reach over the case's edge: there the data is 0 and the label -1.
struct Window {
  const float* data = nullptr;  // (C, z, y, x)
  const int8_t* seg = nullptr;  // (z, y, x)
  Int3 case_extent{};
  Int3 first{}, extent{};
  const int8_t* previous = nullptr;  // (z, y, x), what the previous stage of a cascade said
};

// What a patch reads of its case: a box that begins at voxel `first`.
struct CasePart {
  View image, labels;
  Int3 first{};
};

struct Patch {
  // previous_labels: of a cascade, how many labels the previous stage tells apart (1, 2, ...); for the CPU alone. On
  // another device, parts of a case are cut and uploaded, up to `window` voxels of it at a time.
  Patch(int64_t channel_count, const Int3& patch_extent, int64_t previous_label_count = 0, Device device = {},
        const Int3& window = {});

  int64_t voxels() const { return volume(extent); }
  float* channel(int64_t c) const { return data.data<float>() + c * voxels(); }
  View channel_view(int64_t c) const { return data.slice(c, 1).reshape(seg.shape()).view(); }
  // What the network sees: the images, and a mask for each label of the previous stage.
  int64_t input_channels() const { return channels + previous_labels; }
  // Holds at least the voxels low..high-1 that the case has, on the patch's device. Valid until the next call.
  CasePart part(const Int3& low, const Int3& high);
  // Memory on the patch's device for a box of the source window, which is kept from the first call on.
  CasePart box(const Int3& first, const Int3& box_extent);
  // boxed: with the memory of box().
  static size_t bytes(int64_t channels, const Int3& extent, int64_t previous_labels, Device device, const Int3& window,
                      bool boxed);

  Window source;
  int64_t channels, previous_labels;
  Int3 extent;
  Stream stream;
  Tensor data;  // (C, z, y, x) f32
  Tensor seg;   // (z, y, x) i8
  std::vector<int8_t> previous;
  Tensor scratch;  // for transforms that cannot work in place

 private:
  Tensor cut_, uploaded_;  // as many bytes as a window, on the host and on the device
  Tensor box_;             // as many, where a transform asked for it
  std::optional<Pinned> pinned_;
};

// To element `element` of a batch: images (N, C, D, H, W) f32, C the input channels, labels (N, D, H, W) u8 with -1
// as 0.
void store(Patch& patch, const Tensor& images, const Tensor& labels, int64_t element);

}  // namespace metvox
