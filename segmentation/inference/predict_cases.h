// SPDX-License-Identifier: Apache-2.0
// From image files to segmentations on the images' own grid: CASE.nii.gz a case, one case after the other, each written
// whole before the next begins.
#pragma once
#include "segmentation/inference/predictor.h"

namespace metvox {

struct PredictionFiles {
  Path labels;         // DIR/CASE.nii.gz
  Path probabilities;  // DIR/CASE_probabilities.safetensors
};
PredictionFiles prediction_files(const Path& dir, const std::string& id);
// Are they there: the labels, and with `probabilities` these too?
bool finished(const PredictionFiles& files, bool probabilities);

// What the previous stage of a cascade said of the case, u8 (z, y, x) on the images' grid: DIR/CASE.nii.gz; empty where
// the model has no such stage. Throws Error (Fault::input) where the file is missing.
Tensor read_previous_stage(const std::string& id, const ModelFolder& model, const Geometry& grid, const Path& dir);

// The heads as the metadata of probabilities names them: a JSON list.
std::string head_names(const Labels& labels);

// Labels u8 (z, y, x) as DIR/CASE.nii.gz on the grid, intent "label", names and colours of the labels as a comment
// behind the header. `note` stands behind the version in the image's description.
void write_segmentation(const Path& dir, const std::string& id, const Tensor& voxels, const Geometry& grid,
                        const Labels& labels, const std::string& note);
// f32 (heads, z, y, x), before the labels: where these are, the case is finished.
void write_probabilities(const Path& dir, const std::string& id, const Tensor& probabilities, const Labels& labels);

// What was restored onto the raw file's grid, geometry bit for bit; its probabilities too, where it has them.
void write_prediction(const Path& dir, const LabelRestorer& restored, const CaseProperties& properties,
                      const Labels& labels, const std::string& note = "");

struct PredictOptions {
  bool overwrite = false;  // else a case is kept whose files are there, whole, on its grid and with the model's labels
  bool probabilities = false;
  bool one_by_one = false;  // sequences are read twice, one at a time, which takes less memory
  Path previous_stage{};    // of a cascade: the folder of what `predict` with the previous stage wrote, CASE.nii.gz
  std::string note{};       // such as the configuration's hash
};

struct Predictions {
  int64_t written = 0, kept = 0;
  std::vector<std::string> faults;    // a sentence for each case that could not be done; the others are
  std::vector<std::string> warnings;  // what a reader should know of the images, such as voxels that are not finite
  bool memory = false;                // was one of them out of memory?
  int64_t not_begun = 0;              // cases after one whose file could not be written, as on a full disk
};

// Runs write(i) for each of the cases: false when its files were there and are kept. A case that fails does not stop
// the others; a folder that takes no more does. progress(cases done, cases, the case that is next).
using CaseProgress = std::function<void(int64_t, int64_t, const std::string&)>;
Predictions write_cases(const std::vector<std::string>& ids, const CaseProgress& progress,
                        const std::function<bool(int64_t)>& write);

// progress(cases done, cases, share of the case under way). The folder also gets dataset.json and plans.json of the
// model.
Predictions predict_cases(Predictor& predictor, const ModelFolder& model, const std::vector<CaseFiles>& cases,
                          const Path& dir, const PredictOptions& options,
                          const std::function<void(int64_t, int64_t, double)>& progress);

}  // namespace metvox
