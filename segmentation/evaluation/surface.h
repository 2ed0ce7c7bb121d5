// SPDX-License-Identifier: Apache-2.0
// Distances between the surfaces of two masks, weighted by surface area: HD95, HD100, surface Dice (NSD). The surface
// runs through the corners of voxels; each corner's 2x2x2 neighbourhood has a marching-cubes area. The numbers are
// those of google-deepmind/surface-distance 0.1.
#pragma once
#include <array>
#include <vector>

#include "tensor/tensor.h"

namespace metvox {

// Area in mm^2 of the surface in a cell of 2x2x2 voxels. Bit 128 >> (4 i + 2 j + k) of the code is voxel (i, j, k) of
// the cell, axes (z, y, x) as the spacing.
std::array<double, 256> surface_areas(const Double3& spacing_mm);

struct SurfaceElement {
  double distance_mm = 0, area_mm2 = 0;
};

struct SurfaceDistances {
  // Each sorted by distance, then area; distances are infinite where the other mask is empty.
  std::vector<SurfaceElement> from_prediction, from_truth;

  // The larger of both directed distances that `share` of the area lies within: 0.95 is HD95, 1 is HD100. Infinite when
  // a mask is empty.
  double hausdorff_mm(double share) const;
  // Share of both surfaces that lies within the tolerance of the other one; NaN when both masks are empty.
  double dice(double tolerance_mm) const;
};

// Masks are u8 (z, y, x) of equal shape, 1 inside. Works within their joint bounding box: two bytes a voxel of it.
SurfaceDistances surface_distances(const Tensor& prediction, const Tensor& truth, const Double3& spacing_mm);

}  // namespace metvox
