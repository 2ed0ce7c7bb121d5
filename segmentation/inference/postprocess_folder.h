// SPDX-License-Identifier: Apache-2.0
// Rules of postprocessing.json obeyed for a folder of predictions.
#pragma once
#include "segmentation/evaluation/postprocessing.h"
#include "segmentation/inference/predict_cases.h"

namespace metvox {

// Writes every label file of `from` as CASE.nii.gz to `to`, geometry bit for bit, and copies dataset.json and
// plans.json where they are. done(case, what was removed of it).
Predictions postprocess_folder(const Path& from, const Path& to, const Labels& names,
                               const std::vector<PostprocessingRule>& rules, const PredictOptions& options,
                               const CaseProgress& progress,
                               const std::function<void(const std::string&, const Removed&)>& done);

}  // namespace metvox
