// SPDX-License-Identifier: Apache-2.0
// The end of a fold's training: its validation cases predicted by sliding windows and measured.
#pragma once
#include <functional>

#include "segmentation/networks/model.h"

namespace metvox {

struct FoldValidation {
  Path preprocessed, model;
  std::string fold, configuration;
  std::vector<std::string> ids;
  Target target;
  bool probabilities = false;  // write these too, as `predict` does
  Path previous_stage = {};    // of a cascade: the folder of what the previous stage said
};

// Writes FOLD/validation/CASE.nii.gz (cases whose files are there are kept) and FOLD/validation/summary.json, and for
// each configuration that goes on from this one, where its cases are preprocessed, next_stage_file(). Returns a
// sentence for each case that failed; the trained model is there in any case. progress(cases done, cases, case).
std::vector<std::string> validate_fold(const FoldValidation& fold,
                                       const std::function<void(int64_t, int64_t, const std::string&)>& progress);

// Is there all that it writes?
bool fold_validated(const FoldValidation& fold);

// Bytes beside the predictor's own for the largest of the cases.
size_t largest_validation_case_bytes(const FoldValidation& fold, int64_t heads, int64_t previous_labels);

}  // namespace metvox
