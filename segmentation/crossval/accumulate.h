// SPDX-License-Identifier: Apache-2.0
// The validation predictions of a model's folds together: every case, segmented by the network that has not seen it
// (nnU-Net 2.8.1, evaluation/accumulate_cv_results.py).
#pragma once
#include <map>

#include "segmentation/data/plans.h"

namespace metvox {

struct CrossValidation {
  Path model;
  DatasetDescription dataset;
  std::vector<std::string> folds;
  std::map<std::string, Path> folders;  // of each case: MODEL/fold_K/validation
  Path truths;                          // where the folds' own evaluation found them, unless given
};

// Without `folds` all that the model has, but "all", which is validated on what it was trained on. Throws Error
// (Fault::input) for a fold that is not validated to its end, and for a case that two folds have.
CrossValidation open_cross_validation(const Path& model, const std::vector<std::string>& folds, const Path& truths);

// Makes the folder for predictions of all folds, with the model's dataset.json and plans.json. Throws Error
// (Fault::usage) where it holds files already: what lies there would be counted too.
void begin_new_folder(const Path& dir, const Path& model);

// Copies the predictions to such a folder and writes their summary.json. Returns a sentence for each case that could
// not be evaluated.
std::vector<std::string> accumulate(const CrossValidation& validation, const Path& dir);

// Mean Dice of all targets as DIR/summary.json has it, NaN where it is not defined.
double foreground_dice(const Path& dir);

}  // namespace metvox
