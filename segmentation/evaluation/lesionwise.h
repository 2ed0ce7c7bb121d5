// SPDX-License-Identifier: Apache-2.0
// The lesion-wise scores of the BraTS challenges of 2023 and 2024: every true lesion and every false one counts the
// same, however large. Sources: rachitsaluja/BraTS-2023-Metrics, metrics.py; rachitsaluja/BraTS-2024-Metrics,
// metrics_MET.py (b04e5a0; NSD as in f1131e3).
#pragma once
#include <array>
#include <string>
#include <vector>

#include "segmentation/data/labels.h"
#include "segmentation/evaluation/metrics.h"
#include "segmentation/evaluation/pair_distances.h"

namespace metvox {

// et {3}, tc {1, 3}, wt {1, 2, 3}: those that the challenges rank by.
std::vector<LabelTarget> challenge_regions();

struct LesionwiseRules {
  std::string name;
  int dilation = 1;        // pieces of a true lesion whose dilations touch are one, and its halo is what must be hit
  double ignored_mm3 = 2;  // true lesions up to this volume are not counted
  bool join_predictions = false;  // predicted pieces are joined likewise, those up to ignored_voxels are left out, and
                                  // enhancing lesions (et) at the same necrotic core (label 1) are one
  int64_t ignored_voxels = 0;
  double penalty_mm = 374;  // HD95 of a missed and of a false lesion
};
LesionwiseRules rules_2023();
LesionwiseRules rules_2024();

struct LesionwiseLesion {
  double volume_mm3 = 0;
  int64_t hits = 0;  // predicted lesions in its halo; Dice and distances are those of all of them, whole
  double dice = 0, hd95_mm = 0;
  std::array<double, 2> nsd{};  // by border voxels, at 0.5 and 1 mm
  bool counted = true;          // larger than what is ignored
};

struct LesionwiseScores {
  int64_t tp = 0, fn = 0, fp = 0;
  double dice = 1, hd95_mm = 0;  // means over counted and false lesions; 1 and 0 where there are none
  std::array<double, 2> nsd{1, 1};
  std::vector<LesionwiseLesion> lesions;
};

// Labels u8 (z, y, x).
LesionwiseScores lesionwise_scores(const Tensor& prediction, const Tensor& truth, const LabelTarget& region,
                                   const LesionwiseRules& rules, PairDistances& distances);

// Whole-mask numbers as these scripts define them where a mask is empty: two empty ones agree (Dice 1, HD95 0,
// sensitivity 1), one empty one costs the penalty.
struct LegacyScores {
  double dice = 1, hd95_mm = 0, sensitivity = 1, specificity = 1;
};
LegacyScores legacy_scores(const Counts& counts, double hd95_mm, const LesionwiseRules& rules);

}  // namespace metvox
