// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/scores.h"

#include "io/safetensors.h"
#include "segmentation/data/case_fault.h"
#include "segmentation/data/dataset.h"
#include "segmentation/evaluation/case_pairs.h"
#include "segmentation/evaluation/overview.h"

namespace metvox {

namespace {

// FROC and calibration of each region, as long as every case so far has had its probabilities.
class Probabilities {
 public:
  explicit Probabilities(const Labels& labels) : labels_(labels) {}

  void add(const LabelFiles& files, const LabelVolumes& volumes) {
    const Geometry& grid = volumes.prediction_grid;
    const Path path = files.prediction.parent_path() / (files.sample + "_probabilities.safetensors");
    missing_ = missing_ || !std::filesystem::exists(path);
    if (missing_) return;
    const auto regions = challenge_regions();
    const Tensor heads = read_heads(path, grid);
    const auto& mm = volumes.grid.spacing_mm;
    for (size_t r = 0; r < regions.size(); ++r) {
      const Tensor of_region = region_probability(heads, labels_, regions[r]);
      if (!of_region) continue;
      const Tensor p = onto_lattice({of_region, grid, "", {}}, volumes.grid),
                   truth = region_mask(volumes.truth, regions[r]);
      froc_[r].add(p, truth);
      calibrations_.push_back({files.sample, regions[r].name, {}});
      calibrations_.back().calibration.add(p, truth, {mm[2], mm[1], mm[0]});
    }
  }

  Json froc() const {
    Json all = Json::object();
    const auto regions = challenge_regions();
    for (size_t r = 0; r < regions.size(); ++r)
      if (!missing_ && froc_[r].cases > 0) all[regions[r].name] = froc_json(froc_[r]);
    return all;
  }
  // Case by case; empty where a case had no probabilities.
  std::vector<CaseCalibration> calibrations() const {
    return missing_ ? std::vector<CaseCalibration>() : calibrations_;
  }

 private:
  Tensor read_heads(const Path& path, const Geometry& grid) const {
    const SafeTensors file = read_safetensors(path);
    const auto found = file.tensors.find("probabilities");
    const auto heads = static_cast<int64_t>(labels_.heads().size());
    const Shape expected{heads, grid.shape[2], grid.shape[1], grid.shape[0]};
    if (found == file.tensors.end() || found->second.dtype() != DType::f32 || found->second.shape() != expected)
      fail(Fault::input, path.string(), ": expected a tensor \"probabilities\" f32 ", expected,
           ", as predict --save-probabilities writes it for this prediction; predict again, or remove the file");
    return found->second;
  }

  const Labels& labels_;
  bool missing_ = false;
  std::array<Froc, 3> froc_{};
  std::vector<CaseCalibration> calibrations_{};
};

}  // namespace

Evaluation evaluate(const Path& prediction_dir, const Path& truth_dir, const Labels& labels, const Path& out,
                    const std::function<void(int64_t, int64_t)>& progress) {
  Evaluation result;
  const auto pairs = pair_files(prediction_dir, truth_dir, result.faults, result.faults);
  if (!pairs.empty()) {  // a folder that takes nothing is told before the work, not after it
    make_folder(out);
    const AtomicFile probe(out / "scores.csv");
  }
  std::vector<CaseScores> scores;
  std::vector<SummaryCase> summary;
  Probabilities probabilities(labels);
  bool memory = false;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto fault = try_case(pairs[i].sample, [&] {
      const LabelVolumes volumes = read_pair(pairs[i], labels);
      CaseScores s = score_case(pairs[i].sample, volumes.prediction, volumes.truth, volumes.grid);
      probabilities.add(pairs[i], volumes);
      summary.push_back(summarize(pairs[i], volumes, labels));
      scores.push_back(std::move(s));
    });
    if (fault) {
      memory = memory || fault->fault == Fault::memory;
      result.faults.push_back(fault->text);
    }
    progress(static_cast<int64_t>(i) + 1, static_cast<int64_t>(pairs.size()));
  }
  if (scores.empty()) {
    std::string all =
        sentence("no case of ", prediction_dir.string(), " could be evaluated against ", truth_dir.string());
    if (result.faults.empty()) all += ": there are no label maps in either (CASE.nii.gz, CASE-seg.nii.gz)";
    for (const std::string& fault : result.faults) all += "\n  " + fault;
    fail(memory ? Fault::memory : Fault::input, all);
  }
  result.cases = static_cast<int64_t>(scores.size());
  for (const CaseScores& s : scores)
    for (const std::string& note : notes_of(s)) result.notes.push_back(s.sample + ": " + note);
  const CsvTable table = scores_table(scores), extended = extended_table(scores);
  Json json = summary_json(labels, summary);
  json["overview"] = overview_json(scores, table, extended, probabilities.froc());
  json["overview"]["calibration"] = calibration_json(probabilities.calibrations());
  json["overview"]["not_evaluated"] = result.faults;
  json["overview"]["notes"] = result.notes;
  write_csv(out / "scores.csv", table);
  write_csv(out / "extended.csv", extended);
  write_csv(out / "lesions.csv", lesions_table(scores));
  if (const auto calibrations = probabilities.calibrations(); !calibrations.empty())
    write_csv(out / "calibration.csv", calibration_table(calibrations));
  else std::filesystem::remove(out / "calibration.csv");  // of an earlier run
  write_json(out / "summary.json", json);
  return result;
}

Labels find_label_names(const Path& prediction_dir, const Path& truth_dir, std::string* note) {
  for (const Path& json :
       {prediction_dir / "dataset.json", truth_dir / "dataset.json", truth_dir / ".." / "dataset.json"})
    if (std::filesystem::exists(json)) return read_description(json).labels;
  if (note)
    *note = sentence("there is no dataset.json in ", prediction_dir.string(), ", in ", truth_dir.string(),
                     " or above it", "; summary.json speaks of the regions of BraTS metastases");
  return brats_description("").labels;
}

std::vector<std::string> evaluate_folder(const Path& prediction_dir, const Path& truth_dir, const Labels& labels) {
  std::vector<std::string> faults, without_prediction;
  std::vector<SummaryCase> summary;
  for (const LabelFiles& files : pair_files(prediction_dir, truth_dir, faults, without_prediction))
    if (const auto fault =
            try_case(files.sample, [&] { summary.push_back(summarize(files, read_pair(files, labels), labels)); }))
      faults.push_back(fault->text);
  if (!summary.empty()) write_json(prediction_dir / "summary.json", summary_json(labels, summary));
  return faults;
}

}  // namespace metvox
