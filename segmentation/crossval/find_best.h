// SPDX-License-Identifier: Apache-2.0
// Which model, or pair of models, does best in its cross-validation, and which post-processing helps it
// (nnU-Net 2.8.1, evaluation/find_best_configuration.py).
#pragma once
#include <functional>

#include "segmentation/crossval/accumulate.h"
#include "segmentation/evaluation/postprocessing.h"

namespace metvox {

struct Candidate {
  std::string name;             // of the model's folder; ensemble___A___B
  std::vector<size_t> members;  // one model, or two
  Path predictions;             // DIR/NAME
  double dice = 0;              // foreground_dice()
};

struct FindBestOptions {
  std::vector<Path> models;
  std::vector<std::string> folds;  // as open_cross_validation()
  Path truths;
  bool ensembles = true;
};

struct BestFound {
  std::vector<CrossValidation> models;
  std::vector<Candidate> candidates;  // models, then pairs
  size_t best = 0;                    // of the candidates, the first of the highest Dice
  Determined postprocessing;
};

// Accumulates every model to DIR/NAME and averages every pair of them there, measures all, determines the
// post-processing of the best, and writes its postprocessing.json, and DIR/inference_information.json and
// inference_instructions.txt. Throws Error (Fault::input) where the models have other labels or cases, or, with
// ensembles, a fold has no probabilities. say(what is being done).
BestFound find_best(const FindBestOptions& options, const Path& dir,
                    const std::function<void(const std::string&)>& say);

// The text of inference_instructions.txt: commands of this program.
std::string inference_instructions(const BestFound& found);

}  // namespace metvox
