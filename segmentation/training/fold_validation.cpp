// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/fold_validation.h"

#include <algorithm>

#include "segmentation/data/case_fault.h"
#include "segmentation/data/preprocess.h"
#include "segmentation/evaluation/scores.h"
#include "segmentation/inference/predict_cases.h"
#include "segmentation/inference/previous_stage.h"

namespace metvox {
namespace {

Path case_file(const FoldValidation& fold, const Configuration& configuration, const std::string& id) {
  return fold.preprocessed / configuration.data_identifier / (id + ".safetensors");
}

// Configurations that go on from this one, of those whose cases are preprocessed.
std::vector<const Configuration*> next_stages(const FoldValidation& fold, const Plans& plans) {
  std::vector<const Configuration*> next;
  for (const Configuration& c : plans.configurations)
    if (c.previous_stage == fold.configuration && std::filesystem::is_directory(fold.preprocessed / c.data_identifier))
      next.push_back(&c);
  return next;
}

// Logits of a case become labels on the raw grid, and on that of every next stage, as they come.
struct Restorers {
  LabelRestorer raw;
  std::vector<LabelRestorer> next;

  Restorers(const FoldValidation& fold, const ModelFolder& model, const std::vector<const Configuration*>& stages,
            const PreprocessedCase& c)
      : raw(file_grid(c.properties, model.plans, model.config()), size_of(c), model.dataset.labels,
            fold.probabilities) {
    for (const Configuration* stage : stages) {
      const Path file = case_file(fold, *stage, c.properties.id);
      const auto specs = read_safetensors_header(file).specs;
      const auto data = specs.find("data");
      if (data == specs.end() || data->second.shape.rank() != 4)
        fail(Fault::input, file.string(), ": holds no data (C, z, y, x); preprocess it again");
      const Shape& n = data->second.shape;
      next.emplace_back(next_stage_grid({n[1], n[2], n[3]}, c.properties, model.config()), size_of(c),
                        model.dataset.labels);
    }
  }
  void add(const LogitPlanes& planes) {
    raw.add(planes);
    for (LabelRestorer& stage : next) stage.add(planes);
  }

 private:
  static Int3 size_of(const PreprocessedCase& c) { return {c.data.shape()[1], c.data.shape()[2], c.data.shape()[3]}; }
};

void write_for_next_stages(const ModelFolder& model, const std::vector<const Configuration*>& stages,
                           const Restorers& restored, const std::string& id) {
  for (size_t k = 0; k < stages.size(); ++k) {
    const Tensor seg = labels_for_next_stage(restored.next[k].labels());
    const Path out = next_stage_file(model.path, stages[k]->name, id);
    make_folder(out.parent_path());
    write_safetensors(out, {{"seg", seg.view()}}, {});
  }
}

PreprocessedCase read_inputs(const FoldValidation& fold, const ModelFolder& model, const std::string& id) {
  PreprocessedCase c = read_preprocessed(case_file(fold, model.config(), id));
  const int64_t labels = previous_labels(model.dataset, model.config());
  if (labels == 0) return c;
  const Path file = fold.previous_stage / (id + ".safetensors");
  const SafeTensors previous = read_safetensors(file);
  const Shape& n = c.data.shape();
  const auto seg = previous.tensors.find("seg");
  if (seg == previous.tensors.end() || seg->second.dtype() != DType::i8 ||
      seg->second.shape() != Shape{n[1], n[2], n[3]})
    fail(Fault::input, file.string(), ": is to hold seg i8 ", Shape{n[1], n[2], n[3]},
         "; train the previous stage again");
  c.data = with_previous_labels(c.data, seg->second, labels);
  return c;
}

Path folder_of(const FoldValidation& fold) { return fold.model / ("fold_" + fold.fold) / "validation"; }

bool case_done(const FoldValidation& fold, const std::vector<const Configuration*>& next, const std::string& id) {
  return finished(prediction_files(folder_of(fold), id), fold.probabilities) &&
         std::all_of(next.begin(), next.end(), [&](const Configuration* c) {
           return std::filesystem::exists(next_stage_file(fold.model, c->name, id));
         });
}

}  // namespace

bool fold_validated(const FoldValidation& fold) {
  const auto next = next_stages(fold, read_plans(fold.model / "plans.json"));
  return std::filesystem::exists(folder_of(fold) / "summary.json") &&
         std::all_of(fold.ids.begin(), fold.ids.end(),
                     [&](const std::string& id) { return case_done(fold, next, id); });
}

std::vector<std::string> validate_fold(const FoldValidation& fold,
                                       const std::function<void(int64_t, int64_t, const std::string&)>& progress) {
  const ModelFolder model = open_model(fold.model, "final", {fold.fold});
  const Path out = folder_of(fold);
  make_folder(out);
  PredictorOptions options;
  options.target = fold.target;
  Predictor predictor(model, {fold.fold}, "final", options);
  const auto next = next_stages(fold, model.plans);
  std::vector<std::string> faults;
  int64_t done = 0;
  for (const std::string& id : fold.ids) {
    progress(done++, static_cast<int64_t>(fold.ids.size()), id);
    if (case_done(fold, next, id)) continue;
    const auto fault = try_case(id, [&] {
      const PreprocessedCase c = read_inputs(fold, model, id);
      Restorers restored(fold, model, next, c);
      predictor.predict(
          c.data, [&](const LogitPlanes& planes) { restored.add(planes); }, [](int64_t, int64_t) {});
      write_for_next_stages(model, next, restored, id);
      write_prediction(out, restored.raw, c.properties, model.dataset.labels);
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

size_t largest_validation_case_bytes(const FoldValidation& fold, int64_t heads, int64_t previous_labels) {
  const Plans plans = read_plans(fold.preprocessed / "plans.json");
  const Configuration& configuration = plans.configuration(fold.configuration, fold.preprocessed / "plans.json");
  const auto next = next_stages(fold, plans);
  const auto floats = [](int64_t channels, int64_t voxels) {
    return static_cast<size_t>(channels * voxels) * sizeof(float);
  };
  size_t largest = 0;
  for (const std::string& id : fold.ids) {
    const Path path = case_file(fold, configuration, id);
    const auto specs = read_safetensors_header(path).specs;
    size_t bytes = 0;
    for (const auto& [name, spec] : specs) bytes += spec.bytes();
    if (const auto data = specs.find("data"); data != specs.end() && data->second.shape.rank() == 4) {
      const Shape& n = data->second.shape;
      bytes += floats(heads, n[1] * n[2] * n[3]);
      if (previous_labels > 0) bytes += floats(n[0] + previous_labels, n[1] * n[2] * n[3]);
    }
    const int64_t raw = volume(read_properties(path).shape_before_cropping);
    size_t written = static_cast<size_t>(raw) + (fold.probabilities ? floats(heads, raw) : 0);
    for (const Configuration* stage : next)
      if (const Path file = case_file(fold, *stage, id); std::filesystem::exists(file))
        for (const auto& [name, spec] : read_safetensors_header(file).specs)
          if (name == "seg") written = std::max(written, floats(heads, spec.shape.size()) + 2 * spec.bytes());
    largest = std::max(largest, bytes + written);
  }
  return largest;
}

}  // namespace metvox
