// SPDX-License-Identifier: Apache-2.0
// All numbers of one case: a prediction against its truth, region by region (et, tc, wt as metastasis_regions()).
#pragma once
#include <array>
#include <string>
#include <vector>

#include "io/volume.h"
#include "segmentation/evaluation/instances.h"
#include "segmentation/evaluation/lesions.h"
#include "segmentation/evaluation/lesionwise.h"

namespace metvox {

inline constexpr std::array<double, 3> kSurfaceTolerances_mm{0.5, 1, 2};

struct RegionScores {
  Counts counts;
  double hd95_mm = 0, hd100_mm = 0;      // infinite when either mask is empty
  std::array<double, 3> surface_dice{};  // at kSurfaceTolerances_mm
  double true_volume_ml = 0, predicted_volume_ml = 0;
  std::vector<Lesion> lesions;
  // As the challenges score it, of challenge_regions(): a label above 3 is no part of wt there.
  LegacyScores legacy;
  LesionwiseScores lesionwise_2023, lesionwise_2024;
  InstanceScores instances_2026;
};

struct CaseScores {
  std::string sample;
  std::array<RegionScores, 3> regions;  // et, tc, wt
  TargetLesions true_targets, predicted_targets;
};

// Labels u8 (z, y, x) on the grid.
CaseScores score_case(const std::string& sample, const Tensor& prediction, const Tensor& truth, const Geometry& grid);

// What the numbers do not say by themselves, a sentence a region with an empty mask.
std::vector<std::string> notes_of(const CaseScores& scores);

}  // namespace metvox
