// SPDX-License-Identifier: Apache-2.0
// Predictions and truths of two folders, paired by case and brought onto one grid: where every evaluation begins.
#pragma once
#include "io/volume.h"
#include "segmentation/evaluation/summary.h"

namespace metvox {

struct LabelFiles {
  std::string sample;
  Path prediction, truth;
};

// Sorted by case. What only one folder has, and a case with several files, goes to `without_truth` or
// `without_prediction` as a sentence.
std::vector<LabelFiles> pair_files(const Path& prediction_dir, const Path& truth_dir,
                                   std::vector<std::string>& without_truth,
                                   std::vector<std::string>& without_prediction);

struct LabelVolumes {
  Tensor prediction, truth;  // u8 (z, y, x)
  Geometry grid;             // the truth's
  Geometry prediction_grid;  // as it lies in its file
};

// A prediction on the truth's world lattice in another axis order is turned to it; another grid, or labels that
// `labels` does not define, are an Error (Fault::input).
LabelVolumes read_pair(const LabelFiles& files, const Labels& labels);

// The case's line of summary.json.
SummaryCase summarize(const LabelFiles& files, const LabelVolumes& volumes, const Labels& labels);

}  // namespace metvox
