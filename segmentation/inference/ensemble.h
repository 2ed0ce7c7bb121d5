// SPDX-License-Identifier: Apache-2.0
// What several models say of the same cases, averaged: the probabilities that `predict --save-probabilities` wrote, not
// the labels (nnU-Net 2.8.1, ensembling/ensemble.py).
#pragma once
#include "segmentation/inference/predict_cases.h"

namespace metvox {

// Averages the probabilities of one case in f32, in the members' order, decides, and writes the labels on the grid of
// the members' labels. The members' probabilities are mapped, not read: in memory stand a plane of each head and the
// labels, and with options.probabilities the mean. Throws Error (Fault::input) where files are missing, or grids or
// heads differ.
void ensemble_case(const std::string& id, const std::vector<PredictionFiles>& members, const Labels& labels,
                   const Path& dir, const PredictOptions& options);

// The members' common description of the data. Throws Error (Fault::input) where a folder is missing or holds no
// predictions, where their labels differ, and where a folder has no probabilities at all.
DatasetDescription ensemble_description(const std::vector<Path>& members);

// Every case of the folders; one that only some of them have is a fault. The folder also gets the first member's
// dataset.json and plans.json.
Predictions ensemble_folders(const std::vector<Path>& members, const Path& dir, const PredictOptions& options,
                             const CaseProgress& progress);

}  // namespace metvox
