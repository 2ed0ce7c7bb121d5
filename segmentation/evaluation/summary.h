// SPDX-License-Identifier: Apache-2.0
// summary.json as nnU-Net writes it: voxel counts, Dice and IoU of every case and target, their means, and the mean of
// the means. Undefined numbers (0 / 0) are null and left out of the means over cases.
#pragma once
#include "segmentation/evaluation/metrics.h"

namespace metvox {

struct SummaryCase {
  Path prediction, truth;
  std::vector<Counts> targets;  // one each of Labels::foreground()
};

// The key of a target in it: a label's "3", a region's "(1, 2, 3)".
std::string summary_key(const LabelTarget& target);

Json summary_json(const Labels& labels, const std::vector<SummaryCase>& cases);

}  // namespace metvox
