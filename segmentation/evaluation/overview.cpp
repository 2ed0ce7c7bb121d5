// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/overview.h"

#include <algorithm>
#include <cmath>

#include "segmentation/evaluation/agreement.h"

namespace metvox {

namespace {

// Mean and spread of every column over its finite values; what is left out is counted.
Json column_means(const CsvTable& scores, const CsvTable& extended) {
  Json all = Json::object();
  for (const CsvTable* table : {&scores, &extended})
    for (size_t c = 1; c < table->columns.size(); ++c) {
      if (table->columns[c] == "notes") continue;
      std::vector<double> finite;
      int64_t undefined = 0, infinite = 0;
      for (const auto& row : table->rows) {
        const double value = std::strtod(row[c].c_str(), nullptr);
        if (std::isfinite(value)) finite.push_back(value);
        else ++(std::isnan(value) ? undefined : infinite);
      }
      all[table->columns[c]] = {{"mean", mean(finite)},
                                {"std_sample", std_sample(finite)},
                                {"n", finite.size()},
                                {"undefined", undefined},
                                {"infinite", infinite}};
    }
  return all;
}

Json bin_json(const SizeBin& bin) {
  const Interval interval = bin.recall_interval();
  return {{"from_mm", bin.from_mm},          {"below_mm", bin.below_mm},
          {"lesions", bin.lesions},          {"found", bin.found},
          {"false", bin.false_positives},    {"recall", bin.recall()},
          {"recall_ci95_low", interval.low}, {"recall_ci95_high", interval.high},
          {"precision", bin.precision()},    {"f1", bin.f1()}};
}

Json agreement_json(const std::vector<double>& truth, const std::vector<double>& predicted) {
  const Agreement a = agreement(truth, predicted);
  return {{"n", a.n},
          {"bias", a.bias},
          {"std_of_differences", a.spread},
          {"limit_low", a.limits.low},
          {"limit_high", a.limits.high},
          {"concordance", a.concordance},
          {"icc_2_1", a.icc}};
}

// Sizes of matched lesions, true and predicted.
Json lesion_agreement(const std::vector<std::vector<Lesion>>& cases) {
  std::vector<double> mm, predicted_mm, mm3, predicted_mm3;
  int64_t both = 0, only_true = 0, only_predicted = 0, neither = 0;
  for (const auto& lesions : cases)
    for (const Lesion& l : lesions) {
      if (l.kind != LesionKind::matched) continue;
      mm.push_back(l.axial.longest_mm);
      predicted_mm.push_back(l.predicted_axial.longest_mm);
      mm3.push_back(l.volume_mm3);
      predicted_mm3.push_back(l.predicted_volume_mm3);
      const bool t = l.measurable(), p = l.predicted_measurable();
      ++(t && p ? both : t ? only_true : p ? only_predicted : neither);
    }
  return {{"longest_mm", agreement_json(mm, predicted_mm)},
          {"volume_mm3", agreement_json(mm3, predicted_mm3)},
          {"measurable_kappa", cohen_kappa(both, only_true, only_predicted, neither)}};
}

Json case_agreement(const std::vector<CaseScores>& cases, size_t region) {
  std::vector<double> ml, predicted_ml;
  for (const CaseScores& c : cases) {
    ml.push_back(c.regions[region].true_volume_ml);
    predicted_ml.push_back(c.regions[region].predicted_volume_ml);
  }
  return agreement_json(ml, predicted_ml);
}

Json rules_json() {
  Json all = Json::object();
  for (const LesionwiseRules& r : {rules_2023(), rules_2024()})
    all[r.name] = {{"connectivity", 26},
                   {"dilation", r.dilation},
                   {"ignored_true_mm3", r.ignored_mm3},
                   {"ignored_predicted_voxels", r.ignored_voxels},
                   {"predictions_joined", r.join_predictions},
                   {"penalty_mm", r.penalty_mm}};
  all["BraTS2026"] = {{"connectivity", 26},
                      {"matching", "one to one, greatest Dice"},
                      {"large_from_mm3", 20},
                      {"small_least_dice", 0.1},
                      {"penalty_mm", 373}};
  all["detection"] = {{"connectivity", 26}, {"found", "one voxel predicted"}, {"least_voxels", 1}};
  return all;
}

}  // namespace

Json detection_json(const Detection& d) {
  Json bins = Json::array();
  for (const SizeBin& bin : d.bins) bins.push_back(bin_json(bin));
  return {{"bins", bins},
          {"all", bin_json(d.all)},
          {"cases", d.cases},
          {"false_per_case_mean", d.false_positives_mean},
          {"false_per_case_median", d.false_positives_median},
          {"cases_with_lesions", d.cases_with_lesions},
          {"cases_all_found", d.cases_all_found},
          {"recall_per_case_mean", d.recall_per_case}};
}

Json froc_json(const Froc& froc) {
  Json points = Json::array();
  for (const FrocPoint& p : froc.points)
    points.push_back({{"threshold", p.threshold},
                      {"found", p.found},
                      {"false", p.false_positives},
                      {"recall", froc.recall(p)},
                      {"false_per_case", froc.false_positives_per_case(p)}});
  return {{"cases", froc.cases}, {"lesions", froc.lesions}, {"points", points}};
}

Json calibration_json(const std::vector<CaseCalibration>& cases) {
  std::vector<CaseCalibration> regions;
  for (const CaseCalibration& c : cases) {
    auto found = std::find_if(regions.begin(), regions.end(), [&](const auto& r) { return r.region == c.region; });
    if (found == regions.end()) found = regions.insert(regions.end(), {"", c.region, {}});
    found->calibration.add(c.calibration);
  }
  Json all = Json::object();
  for (const CaseCalibration& r : regions) {
    Json bins = Json::array();
    for (const Calibration::Bin& bin : r.calibration.bins) {
      const auto voxels = static_cast<double>(bin.voxels);
      bins.push_back({{"voxels", bin.voxels},
                      {"mean_probability", bin.probability / voxels},
                      {"share_inside", static_cast<double>(bin.inside) / voxels}});
    }
    all[r.region] = {{"ece", r.calibration.expected_error()},
                     {"bias", r.calibration.bias()},
                     {"voxels", r.calibration.all().voxels},
                     {"bins", bins}};
  }
  return all;
}

Json overview_json(const std::vector<CaseScores>& cases, const CsvTable& scores, const CsvTable& extended,
                   const Json& froc) {
  Json detection = Json::object(), agree = Json::object();
  const auto regions = metastasis_regions();
  for (size_t r = 0; r < regions.size(); ++r) {
    std::vector<std::vector<Lesion>> lesions;
    for (const CaseScores& c : cases) lesions.push_back(c.regions[r].lesions);
    detection[regions[r].name] = {
        {"by_longest_axial_diameter", detection_json(detection_by_size(lesions, LesionSize::longest_axial))},
        {"by_ball_diameter", detection_json(detection_by_size(lesions, LesionSize::ball))}};
    agree[regions[r].name] = lesion_agreement(lesions);
    agree[regions[r].name]["case_volume_ml"] = case_agreement(cases, r);
  }
  std::vector<double> sums, predicted_sums;
  for (const CaseScores& c : cases) {
    sums.push_back(c.true_targets.sum_mm);
    predicted_sums.push_back(c.predicted_targets.sum_mm);
  }
  agree["sum_of_longest_diameters_mm"] = agreement_json(sums, predicted_sums);
  return {{"version", METVOX_VERSION}, {"cases", cases.size()}, {"columns", column_means(scores, extended)},
          {"detection", detection},    {"froc", froc},          {"agreement", agree},
          {"rules", rules_json()}};
}

}  // namespace metvox
