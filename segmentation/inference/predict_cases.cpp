// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/predict_cases.h"

#include <utility>

#include "io/nifti.h"
#include "segmentation/data/case_fault.h"
#include "segmentation/evaluation/viewer_files.h"
#include "segmentation/inference/previous_stage.h"

namespace metvox {

namespace {

template <class F>
bool works(F&& f) {
  try {
    f();
    return true;
  } catch (const Error&) {
    return false;
  }
}

// What keeps files under the right names from being this model's prediction of the case; empty when nothing does.
std::string flaw_of(const PredictionFiles& files, const CaseFiles& inputs, const ModelFolder& model,
                    bool probabilities) {
  const Geometry grid = read_nifti_header(inputs.images.front()).geometry;
  const std::string name = files.labels.string();
  Volume v;
  if (!works([&] { v = read_nifti_labels(files.labels); })) return name + " is not a whole label image";
  if (!same_grid(v.geometry, grid)) return name + " lies on another grid than the images";
  if (!works([&] { require_known_labels(v.voxels, model.dataset.labels, inputs.id, files.labels); }))
    return name + " holds labels that the model does not have";
  if (!probabilities) return "";
  const Shape expected{static_cast<int64_t>(model.dataset.labels.heads().size()), grid.shape[2], grid.shape[1],
                       grid.shape[0]};
  SafeTensorsHeader header;
  const bool whole =
      works([&] { header = read_safetensors_header(files.probabilities); }) && header.specs.contains("probabilities");
  if (whole && header.specs.at("probabilities").shape == expected) return "";
  return files.probabilities.string() + " does not hold the probabilities on the images' grid";
}

// Is the case finished? What only looks so becomes a warning.
bool keeps(const PredictionFiles& files, const CaseFiles& inputs, const ModelFolder& model,
           const PredictOptions& options, std::vector<std::string>& warnings) {
  if (options.overwrite || !finished(files, options.probabilities)) return false;
  const std::string flaw = flaw_of(files, inputs, model, options.probabilities);
  if (!flaw.empty()) warnings.push_back(named_case(inputs.id, flaw + "; the case is predicted again"));
  return flaw.empty();
}

PreprocessedCase prepare(const CaseFiles& files, const ModelFolder& model, const PredictOptions& options,
                         std::vector<std::string>& warnings) {
  std::vector<std::string> said;
  PreprocessedCase c;
  {
    SequenceSource sequences;
    if (options.one_by_one) {
      sequences = sequences_of(files, said);
    } else {
      CaseImages images = read_case(files);
      said = images.warnings;
      sequences = sequences_of(std::move(images));
    }
    const Tensor previous = read_previous_stage(files.id, model, sequences.geometry, options.previous_stage);
    c = preprocess_case(files.id, sequences, previous, model.plans, model.config(), model.dataset.labels, 0);
  }
  for (const std::string& w : said) warnings.push_back(named_case(files.id, w));
  const int64_t masks = previous_labels(model.dataset, model.config());
  if (masks > 0) c.data = with_previous_labels(c.data, c.seg, masks);
  return c;
}

void predict_case(Predictor& predictor, const ModelFolder& model, const CaseFiles& files, const Path& dir,
                  const PredictOptions& options, const std::function<void(int64_t, int64_t)>& progress,
                  std::vector<std::string>& warnings) {
  PreprocessedCase c = prepare(files, model, options, warnings);
  const Shape& n = c.data.shape();
  LabelRestorer restorer(file_grid(c.properties, model.plans, model.config()), {n[1], n[2], n[3]}, model.dataset.labels,
                         options.probabilities);
  predictor.predict(
      c.data, [&](const LogitPlanes& planes) { restorer.add(planes); }, progress);
  c.data = Tensor();  // writing needs room
  write_prediction(dir, restorer, c.properties, model.dataset.labels, options.note);
}

}  // namespace

PredictionFiles prediction_files(const Path& dir, const std::string& id) {
  return {dir / (id + ".nii.gz"), dir / (id + "_probabilities.safetensors")};
}

bool finished(const PredictionFiles& files, bool probabilities) {
  return std::filesystem::exists(files.labels) && (!probabilities || std::filesystem::exists(files.probabilities));
}

Tensor read_previous_stage(const std::string& id, const ModelFolder& model, const Geometry& grid, const Path& dir) {
  if (previous_labels(model.dataset, model.config()) == 0) return {};
  const Path path = prediction_files(dir, id).labels;
  if (!std::filesystem::exists(path))
    fail(Fault::input, "case ", id, ": ", path.string(), " is missing; predict the same images with ",
         model.config().previous_stage, " first");
  return read_case_labels({id, {}, path}, grid, model.dataset.labels);
}

std::string head_names(const Labels& labels) {
  Json names = Json::array();
  for (const LabelTarget& head : labels.heads()) names.push_back(head.name);
  return json_text(names, -1);
}

void write_segmentation(const Path& dir, const std::string& id, const Tensor& voxels, const Geometry& grid,
                        const Labels& labels, const std::string& note) {
  write_nifti(prediction_files(dir, id).labels, voxels, grid,
              {kIntentLabel, "metvox " METVOX_VERSION + (note.empty() ? note : ", " + note),
               label_description(viewer_labels(labels))});
}

void write_probabilities(const Path& dir, const std::string& id, const Tensor& probabilities, const Labels& labels) {
  write_safetensors(prediction_files(dir, id).probabilities, {{"probabilities", probabilities.view()}},
                    {{"heads", head_names(labels)}, {"axes", "head z y x"}});
}

void write_prediction(const Path& dir, const LabelRestorer& restored, const CaseProperties& properties,
                      const Labels& labels, const std::string& note) {
  if (restored.probabilities()) write_probabilities(dir, properties.id, restored.probabilities(), labels);
  write_segmentation(dir, properties.id, restored.labels(), properties.geometry, labels, note);
}

Predictions write_cases(const std::vector<std::string>& ids, const CaseProgress& progress,
                        const std::function<bool(int64_t)>& write) {
  Predictions result;
  const auto total = static_cast<int64_t>(ids.size());
  for (int64_t i = 0; i < total; ++i) {
    const std::string& id = ids[static_cast<size_t>(i)];
    progress(i, total, id);
    const auto fault = try_case(id, [&] { ++(write(i) ? result.written : result.kept); });
    if (!fault) continue;
    result.memory = result.memory || fault->fault == Fault::memory;
    result.faults.push_back(fault->text);
    if (!fault->stop) continue;
    result.not_begun = total - i - 1;
    return result;
  }
  progress(total, total, "");
  return result;
}

Predictions predict_cases(Predictor& predictor, const ModelFolder& model, const std::vector<CaseFiles>& cases,
                          const Path& dir, const PredictOptions& options,
                          const std::function<void(int64_t, int64_t, double)>& progress) {
  make_folder(dir);
  write_json(dir / "dataset.json", model.dataset.json);
  write_json(dir / "plans.json", to_json(model.plans));
  const auto total = static_cast<int64_t>(cases.size());
  std::vector<std::string> ids, warnings;
  for (const CaseFiles& files : cases) ids.push_back(files.id);
  const auto begun = [&](int64_t done, int64_t, const std::string&) { progress(done, total, 0); };
  Predictions result = write_cases(ids, begun, [&](int64_t i) {
    const CaseFiles& files = cases[static_cast<size_t>(i)];
    const auto share = [&](int64_t done, int64_t runs) {
      progress(i, total, static_cast<double>(done) / static_cast<double>(runs));
    };
    if (keeps(prediction_files(dir, files.id), files, model, options, warnings)) return false;
    predict_case(predictor, model, files, dir, options, share, warnings);
    return true;
  });
  result.warnings = warnings;
  return result;
}

}  // namespace metvox
