// SPDX-License-Identifier: Apache-2.0
// Lesions paired one to one, as the BraTS challenges of 2026 do: 26-connected components, the pairing of the greatest
// total Dice. Source: PyPI brats-evaluation 0.0.10 (config_mets.yaml, parse_mets_results) with panoptica 2.1.7; until
// May 2026 (BraTS/BraTS_evaluation, 791134c) its means were over pairs alone. Where voxels are not cubes, panoptica
// mixes up the order of axes and spacing of files that it reads itself; here the order is right.
#pragma once
#include <vector>

#include "segmentation/evaluation/pair_distances.h"

namespace metvox {

struct InstancePair {
  double volume_mm3 = 0;  // of the true lesion
  double dice = 0;
  double hd95_mm = 0, nsd = 0;  // by border voxels; NSD at the smallest spacing
};

struct MeanStd {
  double mean = 0, std = 0;  // of the population, as there
};

// NaN where there are no lesions of this size.
struct SizeClass {
  double tp = 0, fp = 0, fn = 0,
         f1 = 0;  // found: a partner of Dice 0.1 or more; false: all without partner, of any size
};

struct InstanceScores {
  int64_t tp = 0, fp = 0, fn = 0;            // pairs; without partner
  double f1 = 0, precision = 0, recall = 0;  // NaN where there are no lesions at all
  SizeClass large, small;                    // true lesions from 20 mm3 on, below
  // Means over the large lesions and everything false, which cost Dice 0, NSD 0 and 373 mm without a partner; NaN where
  // there is no large true lesion.
  MeanStd dice, hd95_mm, nsd;
  // Over the large lesions that have a partner; 0, 373 mm and 0 where none has.
  MeanStd matched_dice, matched_hd95_mm, matched_nsd;
  std::vector<InstancePair> pairs;         // in the order of the true lesions
  std::vector<double> missed_volumes_mm3;  // true lesions without a partner
};

// Masks u8 (z, y, x), 1 inside.
InstanceScores instance_scores(const Tensor& prediction, const Tensor& truth, PairDistances& distances);

}  // namespace metvox
