// SPDX-License-Identifier: Apache-2.0
// A paired comparison as a picture: every mean difference with its bootstrap interval, group by group.
#pragma once
#include "segmentation/study/compare.h"

namespace metvox {

// For readers: what is compared, "a vs b" or a model's name; "pooled" is the models' mean, in paper mode all their
// cases.
std::string group_text(const PairTest& test);

// SVG without outside references: a panel for each of DICE, Hausdorff and Sensitivity, a line for each group and
// region; filled where p Holm is below 0.05. Grey ticks: the detectable difference. A difference that is not finite is
// said in words.
std::string forest_plot(const StudyComparison& comparison);

}  // namespace metvox
