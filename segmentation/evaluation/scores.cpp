// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/scores.h"

#include <algorithm>
#include <map>

#include "io/nifti.h"
#include "segmentation/data/case_fault.h"
#include "segmentation/data/case_files.h"
#include "segmentation/data/dataset.h"
#include "segmentation/evaluation/surface.h"

namespace metvox {

namespace {

struct LabelFiles {
  std::string sample;
  Path prediction, truth;
};

struct LabelVolumes {
  Tensor prediction, truth;  // u8 (z, y, x)
  Geometry grid;             // the truth's
};

// The label file of each case; a case with several has none, and its sentence goes to `twice`.
std::map<std::string, Path> single_labels(const Path& dir, std::map<std::string, std::string>& twice) {
  std::map<std::string, Path> out;
  for (const auto& [id, paths] : find_label_files(image_files(dir))) {
    out[id] = paths[0];
    if (paths.size() > 1)
      twice[id] = sentence(id, ": the label is there more than once: ", paths[0].string(), ", ", paths[1].string(),
                           "; keep one");
  }
  return out;
}

// Pairs by case; what only one folder has goes to `without_truth` or `without_prediction`.
std::vector<LabelFiles> pair_files(const Path& prediction_dir, const Path& truth_dir,
                                   std::vector<std::string>& without_truth,
                                   std::vector<std::string>& without_prediction) {
  std::map<std::string, LabelFiles> cases;
  std::map<std::string, std::string> twice;
  for (const auto& [sample, path] : single_labels(prediction_dir, twice)) cases[sample].prediction = path;
  for (const auto& [sample, path] : single_labels(truth_dir, twice)) cases[sample].truth = path;
  for (const auto& [sample, fault] : twice) {
    without_truth.push_back(fault);
    cases.erase(sample);
  }
  std::vector<LabelFiles> pairs;
  for (auto& [sample, files] : cases) {
    files.sample = sample;
    if (files.truth.empty())
      without_truth.push_back(sentence(sample, ": no truth in ", truth_dir.string(), " for ", files.prediction.string(),
                                       "; expected ", sample, ".nii.gz or ", sample, "-seg.nii.gz"));
    else if (files.prediction.empty())
      without_prediction.push_back(sentence(sample, ": no prediction in ", prediction_dir.string(), " for ",
                                            files.truth.string(), "; expected ", sample, ".nii.gz"));
    else pairs.push_back(files);
  }
  return pairs;
}

LabelVolumes read_pair(const LabelFiles& files, const Labels& labels) {
  const Volume truth = read_nifti_labels(files.truth), prediction = read_nifti_labels(files.prediction);
  require_known_labels(truth.voxels, labels, files.sample, files.truth);
  require_known_labels(prediction.voxels, labels, files.sample, files.prediction);
  const Tensor turned = onto_lattice(prediction, truth.geometry);
  if (!turned)
    fail(Fault::input, files.sample, ": prediction and truth lie on different grids: ", files.prediction.string(),
         " has ", describe(prediction.geometry), ", ", files.truth.string(), " has ", describe(truth.geometry),
         "; resample one to the other's grid first");
  return {turned, truth.voxels, truth.geometry};
}

SummaryCase summarize(const LabelFiles& files, const LabelVolumes& volumes, const Labels& labels) {
  const LabelPairs pairs(volumes.prediction, volumes.truth);
  SummaryCase c{files.prediction, files.truth, {}};
  for (const LabelTarget& target : labels.foreground())
    c.targets.push_back(pairs.counts(target, labels.ignore_label()));
  return c;
}

RegionScores score_region(const LabelTarget& region, const LabelPairs& pairs, const Tensor& prediction,
                          const Tensor& truth, const Geometry& grid) {
  const auto& mm = grid.spacing_mm;
  const double voxel_ml = mm[0] * mm[1] * mm[2] / 1000;
  const Tensor p = region_mask(prediction, region), t = region_mask(truth, region);
  const SurfaceDistances surface = surface_distances(p, t, {mm[2], mm[1], mm[0]});
  RegionScores s;
  s.counts = pairs.counts(region);
  s.hd95_mm = surface.hausdorff_mm(.95);
  s.hd100_mm = surface.hausdorff_mm(1);
  for (size_t i = 0; i < kSurfaceTolerances_mm.size(); ++i) s.surface_dice[i] = surface.dice(kSurfaceTolerances_mm[i]);
  s.true_volume_ml = static_cast<double>(s.counts.truth()) * voxel_ml;
  s.predicted_volume_ml = static_cast<double>(s.counts.predicted()) * voxel_ml;
  s.lesions = match_lesions(p, t, grid);
  return s;
}

int64_t count_lesions(const RegionScores& s, LesionKind kind) {
  return std::count_if(s.lesions.begin(), s.lesions.end(), [&](const Lesion& l) { return l.kind == kind; });
}

struct Metric {
  std::string name;
  std::string (*text)(const RegionScores&);
};

// Columns METRIC_REGION, all regions of a metric side by side.
CsvTable table_of(const std::vector<Metric>& metrics, const std::vector<CaseScores>& cases) {
  const auto regions = metastasis_regions();
  CsvTable table{{"sample"}, {}};
  for (const Metric& m : metrics)
    for (const LabelTarget& region : regions) table.columns.push_back(m.name + "_" + region.name);
  for (const CaseScores& c : cases) {
    auto& row = table.rows.emplace_back(1, c.sample);
    for (const Metric& m : metrics)
      for (const RegionScores& region : c.regions) row.push_back(m.text(region));
  }
  return table;
}

}  // namespace

CaseScores score_case(const std::string& sample, const Tensor& prediction, const Tensor& truth, const Geometry& grid) {
  const LabelPairs pairs(prediction, truth);
  const auto regions = metastasis_regions();
  CaseScores scores{sample, {}};
  for (size_t r = 0; r < regions.size(); ++r)
    scores.regions[r] = score_region(regions[r], pairs, prediction, truth, grid);
  return scores;
}

CsvTable scores_table(const std::vector<CaseScores>& cases) {
  return table_of({{"DICE", [](const RegionScores& s) { return csv_number(s.counts.dice()); }},
                   {"Hausdorff", [](const RegionScores& s) { return csv_number(s.hd95_mm); }},
                   {"Sensitivity", [](const RegionScores& s) { return csv_number(s.counts.sensitivity()); }},
                   {"Specificity", [](const RegionScores& s) { return csv_number(s.counts.specificity()); }},
                   {"True_volume", [](const RegionScores& s) { return csv_number(s.true_volume_ml); }},
                   {"Predicted_volume", [](const RegionScores& s) { return csv_number(s.predicted_volume_ml); }}},
                  cases);
}

CsvTable extended_table(const std::vector<CaseScores>& cases) {
  return table_of(
      {{"HD100", [](const RegionScores& s) { return csv_number(s.hd100_mm); }},
       {"NSD_0.5mm", [](const RegionScores& s) { return csv_number(s.surface_dice[0]); }},
       {"NSD_1mm", [](const RegionScores& s) { return csv_number(s.surface_dice[1]); }},
       {"NSD_2mm", [](const RegionScores& s) { return csv_number(s.surface_dice[2]); }},
       {"IoU", [](const RegionScores& s) { return csv_number(s.counts.iou()); }},
       {"TP", [](const RegionScores& s) { return std::to_string(s.counts.tp); }},
       {"FP", [](const RegionScores& s) { return std::to_string(s.counts.fp); }},
       {"FN", [](const RegionScores& s) { return std::to_string(s.counts.fn); }},
       {"TN", [](const RegionScores& s) { return std::to_string(s.counts.tn); }},
       {"Lesions_found", [](const RegionScores& s) { return std::to_string(count_lesions(s, LesionKind::matched)); }},
       {"Lesions_missed", [](const RegionScores& s) { return std::to_string(count_lesions(s, LesionKind::missed)); }},
       {"Lesions_false",
        [](const RegionScores& s) { return std::to_string(count_lesions(s, LesionKind::false_positive)); }}},
      cases);
}

CsvTable lesions_table(const std::vector<CaseScores>& cases) {
  const auto regions = metastasis_regions();
  CsvTable table{{"sample", "region", "kind", "x_mm", "y_mm", "z_mm", "voxels", "volume_mm3", "diameter_mm",
                  "overlap_voxels", "dice"},
                 {}};
  for (const CaseScores& c : cases)
    for (size_t r = 0; r < regions.size(); ++r)
      for (const Lesion& l : c.regions[r].lesions) {
        const bool is_true = l.kind != LesionKind::false_positive;
        table.rows.push_back({c.sample, regions[r].name, name_of(l.kind), csv_number(l.centre_mm[0]),
                              csv_number(l.centre_mm[1]), csv_number(l.centre_mm[2]), std::to_string(l.voxels),
                              csv_number(l.volume_mm3), csv_number(l.diameter_mm),
                              is_true ? std::to_string(l.overlap_voxels) : "", is_true ? csv_number(l.dice) : ""});
      }
  return table;
}

Evaluation evaluate(const Path& prediction_dir, const Path& truth_dir, const Labels& labels, const Path& out,
                    const std::function<void(int64_t, int64_t)>& progress) {
  Evaluation result;
  const auto pairs = pair_files(prediction_dir, truth_dir, result.faults, result.faults);
  std::vector<CaseScores> scores;
  std::vector<SummaryCase> summary;
  bool memory = false;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto fault = try_case(pairs[i].sample, [&] {
      const LabelVolumes volumes = read_pair(pairs[i], labels);
      CaseScores s = score_case(pairs[i].sample, volumes.prediction, volumes.truth, volumes.grid);
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
    for (const std::string& fault : result.faults) all += "\n  " + fault;
    fail(memory ? Fault::memory : Fault::input, all);
  }
  result.cases = static_cast<int64_t>(scores.size());
  make_folder(out);
  write_csv(out / "scores.csv", scores_table(scores));
  write_csv(out / "extended.csv", extended_table(scores));
  write_csv(out / "lesions.csv", lesions_table(scores));
  write_json(out / "summary.json", summary_json(labels, summary));
  return result;
}

Labels find_label_names(const Path& prediction_dir, const Path& truth_dir, std::string* note) {
  for (const Path& json :
       {prediction_dir / "dataset.json", truth_dir / "dataset.json", truth_dir / ".." / "dataset.json"})
    if (std::filesystem::exists(json)) return read_description(json).labels;
  if (note)
    *note = sentence("there is no dataset.json beside ", prediction_dir.string(), " or ", truth_dir.string(),
                     "; summary.json speaks of the regions of BraTS metastases");
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
