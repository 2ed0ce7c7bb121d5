// SPDX-License-Identifier: Apache-2.0
// Lesions: 26-connected components of a region. A true lesion is found when any voxel of it was predicted; a predicted
// one is false when it touches no true one.
#pragma once
#include <string>

#include "io/volume.h"
#include "segmentation/evaluation/components.h"

namespace metvox {

enum class LesionKind { matched, missed, false_positive };
std::string name_of(LesionKind kind);  // matched, missed, false

struct Lesion {
  LesionKind kind = LesionKind::matched;
  std::array<double, 3> centre_mm{};  // world, R A S
  int64_t voxels = 0;
  double volume_mm3 = 0, diameter_mm = 0;  // diameter of the ball of this volume
  int64_t overlap_voxels = 0;
  double dice = 0;       // against all predicted components that it touches, together
  Int3 first{}, last{};  // bounding box (z, y, x), half open
};

double ball_diameter_mm(double volume_mm3);

// Masks u8 (z, y, x) on the grid. True lesions in the order of their first voxels, then the false ones.
std::vector<Lesion> match_lesions(const Tensor& prediction, const Tensor& truth, const Geometry& grid);

}  // namespace metvox
