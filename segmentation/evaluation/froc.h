// SPDX-License-Identifier: Apache-2.0
// Free-response ROC: lesions found against false lesions a case, while the probability from which a voxel counts as
// tumour is moved. A lesion is found at a threshold when a voxel of it reaches that; a false lesion is a 26-connected
// component of what reaches it that touches no true one.
#pragma once
#include <array>
#include <cstdint>

#include "segmentation/data/labels.h"
#include "tensor/tensor.h"

namespace metvox {

inline constexpr std::array<double, 13> kFrocThresholds{.05, .1, .2, .3, .4, .5, .6, .7, .8, .9, .95, .98, .99};

struct FrocPoint {
  double threshold = 0;
  int64_t found = 0, false_positives = 0;
};

struct Froc {
  int64_t cases = 0, lesions = 0;
  std::array<FrocPoint, kFrocThresholds.size()> points{};
  double recall(const FrocPoint& p) const { return static_cast<double>(p.found) / static_cast<double>(lesions); }
  double false_positives_per_case(const FrocPoint& p) const {
    return static_cast<double>(p.false_positives) / static_cast<double>(cases);
  }
  // Adds a case: probability f32 and truth u8 (1 inside), (z, y, x) on one grid.
  void add(const Tensor& probability, const Tensor& truth);
};

// Probability f32 (z, y, x) of a region from a model's heads f32 (heads, z, y, x), those of Labels::heads(): the head
// of just these labels, or the sum over labels that exclude each other. Empty where the heads do not tell.
Tensor region_probability(const Tensor& heads, const Labels& labels, const LabelTarget& region);

}  // namespace metvox
