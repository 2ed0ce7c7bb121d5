// SPDX-License-Identifier: Apache-2.0
// From what the heads say of a voxel to its label: regions in their class order, where they pass the threshold, later
// ones over earlier ones; of exclusive labels the first of the highest.
#pragma once
#include "segmentation/data/labels.h"

namespace metvox {

class LabelDecision {
 public:
  // threshold: 0 for logits, 0.5 for probabilities.
  LabelDecision(const Labels& labels, float threshold);
  // rows: a pointer for each of labels.heads() to what it says of n voxels; to their labels.
  void operator()(const float* const* rows, int64_t n, uint8_t* out) const;

 private:
  std::vector<uint8_t> written_;  // by each head
  bool regions_;
  float threshold_;
};

}  // namespace metvox
