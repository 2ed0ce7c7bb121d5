// SPDX-License-Identifier: Apache-2.0
// From image files to segmentations on the images' own grid: CASE.nii.gz a case, one case after the other, each written
// whole before the next begins.
#pragma once
#include "segmentation/data/preprocess.h"
#include "segmentation/inference/predictor.h"

namespace metvox {

struct PredictionFiles {
  Path labels;         // DIR/CASE.nii.gz
  Path probabilities;  // DIR/CASE_probabilities.safetensors
};
PredictionFiles prediction_files(const Path& dir, const std::string& id);

// Logits of a preprocessed case as labels on the raw file's grid, geometry bit for bit, intent "label", names and colours
// of the labels as a comment behind the header.
// `probabilities`: also a tensor "probabilities" f32 (heads, z, y, x) on that grid, with the heads' names in its
// metadata. `note` stands behind the version in the image's description.
void write_prediction(const Path& dir, const Tensor& logits, const CaseProperties& properties, const ModelFolder& model,
                      bool probabilities, const std::string& note = "");

struct PredictOptions {
  bool overwrite = false;  // else a case is kept whose files are there, whole, on its grid and with the model's labels
  bool probabilities = false;
  std::string note{};  // such as the configuration's hash
};

struct Predictions {
  int64_t written = 0, kept = 0;
  std::vector<std::string> faults;    // a sentence for each case that could not be done; the others are
  std::vector<std::string> warnings;  // what a reader should know of the images, such as voxels that are not finite
  bool memory = false;                // was one of them out of memory?
  int64_t not_begun = 0;              // cases after one whose file could not be written, as on a full disk
};

// progress(cases done, cases, share of the case under way). The folder also gets dataset.json and plans.json of the
// model.
Predictions predict_cases(Predictor& predictor, const ModelFolder& model, const std::vector<CaseFiles>& cases,
                          const Path& dir, const PredictOptions& options,
                          const std::function<void(int64_t, int64_t, double)>& progress);

}  // namespace metvox
