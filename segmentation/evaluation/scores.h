// SPDX-License-Identifier: Apache-2.0
// Predictions against truths, folder against folder: scores.csv, extended.csv, lesions.csv (score_tables.h) and
// summary.json (summary.h, overview.h).
#pragma once
#include <functional>

#include "segmentation/evaluation/score_tables.h"
#include "segmentation/evaluation/summary.h"

namespace metvox {

struct Evaluation {
  int64_t cases = 0;                // evaluated
  std::vector<std::string> faults;  // a sentence for each case that could not be
  std::vector<std::string> notes;   // what numbers of the others do not say by themselves, such as empty masks
};

// Pairs the label files of both folders by case, evaluates each pair, writes the four files to `out`. A prediction on
// the truth's world lattice in another axis order is turned to it; on any other grid the case is a fault, as is a case
// that only one folder has, or with labels that `labels` does not define. Where every evaluated case has probabilities
// beside its prediction (predict --save-probabilities), summary.json also has the FROC and the calibration, and there
// is calibration.csv. Throws Error (Fault::input) before the first case when `out` takes no files; (Fault::input or
// memory), and writes no file, when no case could be evaluated.
Evaluation evaluate(const Path& prediction_dir, const Path& truth_dir, const Labels& labels, const Path& out,
                    const std::function<void(int64_t, int64_t)>& progress);

// Labels for evaluate(): of the dataset.json beside the predictions or the truths, else those of brats_description(),
// which `note` then says.
Labels find_label_names(const Path& prediction_dir, const Path& truth_dir, std::string* note = nullptr);

// Writes the summary of all predictions in a folder there as summary.json: what ends a fold's training. Truths without
// a prediction are passed over. Returns a sentence for each prediction that could not be evaluated; where none could,
// nothing is written.
std::vector<std::string> evaluate_folder(const Path& prediction_dir, const Path& truth_dir, const Labels& labels);

}  // namespace metvox
