// SPDX-License-Identifier: Apache-2.0
// Distances between the border voxels of two masks, each voxel counting the same: what nnU-Net's normalized surface
// Dice, MedPy and panoptica are made of. Not comparable with surface.h, which weighs by area. A border voxel has a
// neighbour by a face that is outside; beyond the image everything is.
#pragma once
#include <vector>

#include "tensor/tensor.h"

namespace metvox {

struct BorderDistances {
  std::vector<double> from_prediction_mm, from_truth_mm;  // sorted

  // Mean of the shares of both borders that lie within the tolerance: 0 when one mask is empty, NaN when both are.
  double dice(double tolerance_mm) const;
  // 95th percentile of both directions' distances together, linear between them; infinite when a mask is empty.
  double hd95_mm() const;
};

// Masks u8 (z, y, x) of equal shape, 1 inside.
BorderDistances border_distances(const Tensor& prediction, const Tensor& truth, const Double3& spacing_mm);

// The border voxels themselves, (z, y, x).
std::vector<Int3> border_voxels(const Tensor& mask);

}  // namespace metvox
