// SPDX-License-Identifier: Apache-2.0
// Voxel counts of a prediction against a truth, and the metrics that follow from them. A metric that would be 0 / 0 is
// NaN.
#pragma once
#include <array>
#include <vector>

#include "segmentation/data/labels.h"
#include "tensor/tensor.h"

namespace metvox {

// et {3}, tc {1, 3}, wt everything but 0: the regions of luumsk/BrainMetaSeg's scores.
std::vector<LabelTarget> metastasis_regions();

struct Counts {
  int64_t tp = 0, fp = 0, fn = 0, tn = 0;
  int64_t predicted() const { return tp + fp; }
  int64_t truth() const { return tp + fn; }
  double dice() const { return ratio(2 * tp, 2 * tp + fp + fn); }
  double iou() const { return ratio(tp, tp + fp + fn); }
  double sensitivity() const { return ratio(tp, tp + fn); }
  double specificity() const { return ratio(tn, tn + fp); }
  bool operator==(const Counts&) const = default;

 private:
  static double ratio(int64_t a, int64_t b) { return static_cast<double>(a) / static_cast<double>(b); }
};

// How often each label was predicted where each label is true: the counts of any region follow from one pass.
class LabelPairs {
 public:
  // u8 volumes of equal shape.
  LabelPairs(const Tensor& prediction, const Tensor& truth);
  // Voxels whose truth is `ignore_label` count nowhere.
  Counts counts(const LabelTarget& region, int ignore_label = -1) const;

 private:
  std::vector<int64_t> pairs_;  // [predicted * 256 + truth]
};

// u8 mask (1 inside) of the labels that a region joins, the background not among them.
Tensor region_mask(const Tensor& labels, const LabelTarget& region);

}  // namespace metvox
