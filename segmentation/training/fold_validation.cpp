// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/fold_validation.h"

#include <algorithm>

#include "segmentation/data/case_fault.h"
#include "segmentation/data/preprocess.h"
#include "segmentation/evaluation/scores.h"
#include "segmentation/inference/predict_cases.h"

namespace metvox {
namespace {

Path case_file(const FoldValidation& fold, const Configuration& configuration, const std::string& id) {
  return fold.preprocessed / configuration.data_identifier / (id + ".safetensors");
}

Path folder_of(const FoldValidation& fold) { return fold.model / ("fold_" + fold.fold) / "validation"; }

}  // namespace

bool fold_validated(const FoldValidation& fold) {
  const Path out = folder_of(fold);
  return std::filesystem::exists(out / "summary.json") &&
         std::all_of(fold.ids.begin(), fold.ids.end(),
                     [&](const std::string& id) { return finished(prediction_files(out, id), fold.probabilities); });
}

std::vector<std::string> validate_fold(const FoldValidation& fold,
                                       const std::function<void(int64_t, int64_t, const std::string&)>& progress) {
  const ModelFolder model = open_model(fold.model, "final", {fold.fold});
  const Path out = folder_of(fold);
  make_folder(out);
  PredictorOptions options;
  options.target = fold.target;
  Predictor predictor(model, {fold.fold}, "final", options);
  std::vector<std::string> faults;
  int64_t done = 0;
  for (const std::string& id : fold.ids) {
    progress(done++, static_cast<int64_t>(fold.ids.size()), id);
    if (finished(prediction_files(out, id), fold.probabilities)) continue;
    const auto fault = try_case(id, [&] {
      const PreprocessedCase c = read_preprocessed(case_file(fold, model.config(), id));
      write_prediction(out, predictor.logits(c.data, [](int64_t, int64_t) {}), c.properties, model, fold.probabilities);
    });
    if (!fault) continue;
    faults.push_back("validation: " + fault->text);
    if (fault->stop) return faults;
  }
  progress(done, static_cast<int64_t>(fold.ids.size()), "");
  const Path truths = fold.preprocessed / "gt_segmentations";
  if (!std::filesystem::is_directory(truths)) {
    faults.push_back(truths.string() +
                     ": the labels to validate against are missing; run `metvox preprocess` again, "
                     "then train with --resume");
    return faults;
  }
  for (const std::string& fault : evaluate_folder(out, truths, model.dataset.labels))
    faults.push_back("validation: " + fault);
  return faults;
}

size_t largest_validation_case_bytes(const FoldValidation& fold, int64_t heads) {
  const Plans plans = read_plans(fold.preprocessed / "plans.json");
  const Configuration& configuration = plans.configuration(fold.configuration, fold.preprocessed / "plans.json");
  size_t largest = 0;
  for (const std::string& id : fold.ids) {
    const Path path = case_file(fold, configuration, id);
    size_t bytes = 0;
    for (const auto& [name, spec] : read_safetensors_header(path).specs) {
      bytes += spec.bytes();
      if (name == "data")
        bytes += spec.bytes() / static_cast<size_t>(spec.shape[0]) * static_cast<size_t>(heads);  // logits
    }
    const auto raw = static_cast<size_t>(volume(read_properties(path).shape_before_cropping));
    largest =
        std::max(largest, bytes + raw + (fold.probabilities ? raw * static_cast<size_t>(heads) * sizeof(float) : 0));
  }
  return largest;
}

}  // namespace metvox
