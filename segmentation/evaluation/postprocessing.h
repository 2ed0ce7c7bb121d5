// SPDX-License-Identifier: Apache-2.0
// What may be done to finished label maps: components are removed by rules that a cross-validation has found to help
// (nnU-Net 2.8.1, postprocessing/remove_connected_components.py). Keeping the largest component alone is made for
// organs: of a patient with several metastases it deletes all but one.
#pragma once
#include <functional>

#include "segmentation/evaluation/case_pairs.h"

namespace metvox {

// A rule looks at the components (26 neighbours) of the voxels whose label is one of `labels`; what it removes becomes
// background.
struct PostprocessingRule {
  std::vector<int> labels;
  double least_volume_mm3 = 0;  // smaller components go; 0: all that are smaller than the largest
};

// postprocessing.json, whose "postprocessing_fns" and "postprocessing_kwargs" are nnU-Net's; a file of its is read too.
// Rules are obeyed in their order. Throws Error (Fault::input) for a rule that is not known.
std::vector<PostprocessingRule> postprocessing_from_json(const Json& json, const Path& where);
Json to_json(const std::vector<PostprocessingRule>& rules);
// "keep the largest component of labels 1, 2, 3".
std::string describe(const PostprocessingRule& rule);

struct Removed {
  int64_t components = 0, voxels = 0;
};
// Obeys the rules in place. labels u8 (z, y, x).
Removed postprocess(const Tensor& labels, const Geometry& grid, const std::vector<PostprocessingRule>& rules);

struct Determined {
  std::vector<PostprocessingRule> rules;
  Json before, after;               // summary_json() without and with them
  std::vector<std::string> tried;   // a sentence a rule: adopted or not, and why
  std::vector<std::string> unused;  // truths without a prediction
};

// nnU-Net's decision from the predictions of a cross-validation: first the largest component of all labels together,
// adopted where the mean Dice of all targets rises and that of none falls; then, with more than one target, the largest
// of each in their order, adopted where its own mean Dice rises. Reads the files once a rule, one case at a time.
// Throws Error (Fault::input) where a prediction cannot be compared with its truth: a rule for all rests on all.
Determined determine_postprocessing(const Path& prediction_dir, const Path& truth_dir, const Labels& labels,
                                    const std::function<void(int64_t, int64_t)>& progress);

// The file, with the numbers before and after.
Json to_json(const Determined& determined);

}  // namespace metvox
