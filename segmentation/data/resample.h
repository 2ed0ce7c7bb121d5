// SPDX-License-Identifier: Apache-2.0
// Resampling as nnU-Net does it (2.8.1, preprocessing/resampling/default_resampling.py): cubic B-spline or linear,
// half-pixel grid, optional separate z. Volumes are (z, y, x) f32 unless said otherwise.
#pragma once
#include "tensor/tensor.h"

namespace metvox {

// Cubic B-spline (order 3, edge mode: 12 edge voxels of padding, mirror-initialised prefilter) or linear (order 1).
// `clip` limits the result to the input's range. Rows along an axis whose extent does not change are not touched.
Tensor resize(const Tensor& volume, const Int3& shape, int order, bool clip = true);

struct SeparateZ {
  bool separate = false;
  int axis = 0;
};
// nnU-Net's rule: separate when max/min > 3 of the current spacing, else of the new one; never when axes tie.
SeparateZ separate_z(const Double3& current_mm, const Double3& target_mm);

// round(spacing_old / spacing_new * shape), half to even. Throws Error (Fault::input) beyond 2^31 voxels: such spacings
// are mistakes of a header.
Int3 resampled_shape(const Int3& shape, const Double3& current_mm, const Double3& target_mm);

// (C, z, y, x) f32 to (C, shape): order 3 for images, order 1 for logits; nearest along z when separate. The result
// lies where the data do; on a GPU the last digits differ.
Tensor resample_data(const Tensor& data, const Int3& shape, const Double3& current_mm, const Double3& target_mm,
                     int order);
// What the former is on a GPU.
Tensor resample_on_device(const Tensor& data, const Int3& shape, const SeparateZ& rule, int order);
// One channel (z, y, x) into another of its shape.
void resample_channel(const Tensor& from, const Tensor& to, const Double3& current_mm, const Double3& target_mm,
                      int order);
// What that holds beside the two.
size_t resample_scratch_bytes(const Int3& from, const Int3& to, const Double3& current_mm, const Double3& target_mm);
// i8 labels (z, y, x), -1 allowed: the label whose linearly interpolated mask is largest; of equal ones that of the
// nearest voxel, else the lowest (batchgenerators 0.25.5, resize_segmentation).
Tensor resample_labels(const Tensor& labels, const Int3& shape, const Double3& current_mm, const Double3& target_mm);

}  // namespace metvox
