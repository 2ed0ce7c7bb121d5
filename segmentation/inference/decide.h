// SPDX-License-Identifier: Apache-2.0
// From what the heads say of a voxel to its label: regions in their class order, where they pass the threshold, later
// ones over earlier ones; of exclusive labels the first of the highest.
#pragma once
#include "segmentation/data/labels.h"

namespace metvox {

// heads (labels.heads(), n) to n labels. threshold: 0 for logits, 0.5 for probabilities.
void decide_labels(const float* heads, int64_t n, const Labels& labels, float threshold, uint8_t* out);

}  // namespace metvox
