// SPDX-License-Identifier: Apache-2.0
// Lesions: 26-connected components of a region. A true lesion is found when any voxel of it was predicted; a predicted
// one is false when it touches no true one. A prediction may find several lesions, and several may find one.
#pragma once
#include <string>
#include <vector>

#include "io/volume.h"
#include "segmentation/evaluation/components.h"
#include "segmentation/evaluation/diameters.h"
#include "segmentation/evaluation/pair_distances.h"

namespace metvox {

enum class LesionKind { matched, missed, false_positive };
std::string name_of(LesionKind kind);  // matched, missed, false

struct Lesion {
  LesionKind kind = LesionKind::matched;
  int64_t id = 0;                     // its number among the components of the truth; of a false one, of the prediction
  std::array<double, 3> centre_mm{};  // world, R A S
  Double3 centre{};                   // mean index (z, y, x)
  Int3 first{}, last{};               // bounding box (z, y, x), half open
  int64_t voxels = 0;
  double volume_mm3 = 0, diameter_mm = 0;  // diameter of the ball of this volume
  Diameters axial{};
  bool enhancing = false;  // holds a voxel of enhancing tumour: what RANO-BM measures
  // A true lesion against all predicted ones that it touches, together:
  int64_t overlap_voxels = 0;
  double dice = 0;
  double hd95_mm = 0;  // infinite for a missed one
  double predicted_volume_mm3 = 0;
  Diameters predicted_axial{};
  // A missed lesion to the nearest predicted one, a false one to the nearest true one; border to border, infinite where
  // there is none.
  double nearest_mm = 0;

  bool is_true() const { return kind != LesionKind::false_positive; }
  bool measurable() const { return enhancing && axial.measurable(); }
  bool predicted_measurable() const { return kind == LesionKind::matched && enhancing && predicted_axial.measurable(); }
};

double ball_diameter_mm(double volume_mm3);

// Masks u8 (z, y, x), 1 inside, on a grid. The last two say where enhancing tumour is; without them, everywhere.
struct LesionMasks {
  Tensor prediction, truth;
  Tensor enhancing_prediction{}, enhancing_truth{};
};
// True lesions in the order of their first voxels, then the false ones.
std::vector<Lesion> match_lesions(const LesionMasks& masks, const Geometry& grid, PairDistances& distances);

}  // namespace metvox
