// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/score_tables.h"

#include <algorithm>

namespace metvox {

namespace {

int64_t count_lesions(const RegionScores& s, LesionKind kind) {
  return std::count_if(s.lesions.begin(), s.lesions.end(), [&](const Lesion& l) { return l.kind == kind; });
}

struct Metric {
  std::string name;
  std::string (*text)(const RegionScores&);
};
using Metrics = std::vector<Metric>;

Metrics extended_metrics() {
  return {
      {"HD100", [](const RegionScores& s) { return csv_number(s.hd100_mm); }},
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
       [](const RegionScores& s) { return std::to_string(count_lesions(s, LesionKind::false_positive)); }},
  };
}

Metrics legacy_metrics() {
  return {
      {"Legacy_Dice", [](const RegionScores& s) { return csv_number(s.legacy.dice); }},
      {"Legacy_HD95", [](const RegionScores& s) { return csv_number(s.legacy.hd95_mm); }},
      {"Legacy_Sensitivity", [](const RegionScores& s) { return csv_number(s.legacy.sensitivity); }},
      {"Legacy_Specificity", [](const RegionScores& s) { return csv_number(s.legacy.specificity); }},
  };
}

// scores: which year's of a region's.
template <LesionwiseScores RegionScores::*scores>
Metrics lesionwise_metrics(const std::string& year) {
  return {
      {year + "_TP", [](const RegionScores& s) { return std::to_string((s.*scores).tp); }},
      {year + "_FP", [](const RegionScores& s) { return std::to_string((s.*scores).fp); }},
      {year + "_FN", [](const RegionScores& s) { return std::to_string((s.*scores).fn); }},
      {year + "_Dice", [](const RegionScores& s) { return csv_number((s.*scores).dice); }},
      {year + "_HD95", [](const RegionScores& s) { return csv_number((s.*scores).hd95_mm); }},
      {year + "_NSD_0.5mm", [](const RegionScores& s) { return csv_number((s.*scores).nsd[0]); }},
      {year + "_NSD_1mm", [](const RegionScores& s) { return csv_number((s.*scores).nsd[1]); }},
  };
}

Metrics instance_metrics() {
  return {
      {"LW2026_TP", [](const RegionScores& s) { return std::to_string(s.instances_2026.tp); }},
      {"LW2026_FP", [](const RegionScores& s) { return std::to_string(s.instances_2026.fp); }},
      {"LW2026_FN", [](const RegionScores& s) { return std::to_string(s.instances_2026.fn); }},
      {"LW2026_F1", [](const RegionScores& s) { return csv_number(s.instances_2026.f1); }},
      {"LW2026_precision", [](const RegionScores& s) { return csv_number(s.instances_2026.precision); }},
      {"LW2026_recall", [](const RegionScores& s) { return csv_number(s.instances_2026.recall); }},
      {"LW2026_Dice", [](const RegionScores& s) { return csv_number(s.instances_2026.dice.mean); }},
      {"LW2026_Dice_std", [](const RegionScores& s) { return csv_number(s.instances_2026.dice.std); }},
      {"LW2026_HD95", [](const RegionScores& s) { return csv_number(s.instances_2026.hd95_mm.mean); }},
      {"LW2026_HD95_std", [](const RegionScores& s) { return csv_number(s.instances_2026.hd95_mm.std); }},
      {"LW2026_NSD", [](const RegionScores& s) { return csv_number(s.instances_2026.nsd.mean); }},
      {"LW2026_NSD_std", [](const RegionScores& s) { return csv_number(s.instances_2026.nsd.std); }},
      {"LW2026_large_TP", [](const RegionScores& s) { return csv_number(s.instances_2026.large.tp); }},
      {"LW2026_large_FP", [](const RegionScores& s) { return csv_number(s.instances_2026.large.fp); }},
      {"LW2026_large_FN", [](const RegionScores& s) { return csv_number(s.instances_2026.large.fn); }},
      {"LW2026_large_F1", [](const RegionScores& s) { return csv_number(s.instances_2026.large.f1); }},
      {"LW2026_small_TP", [](const RegionScores& s) { return csv_number(s.instances_2026.small.tp); }},
      {"LW2026_small_FP", [](const RegionScores& s) { return csv_number(s.instances_2026.small.fp); }},
      {"LW2026_small_FN", [](const RegionScores& s) { return csv_number(s.instances_2026.small.fn); }},
      {"LW2026_small_F1", [](const RegionScores& s) { return csv_number(s.instances_2026.small.f1); }},
      {"LW2026_matched_Dice", [](const RegionScores& s) { return csv_number(s.instances_2026.matched_dice.mean); }},
      {"LW2026_matched_Dice_std", [](const RegionScores& s) { return csv_number(s.instances_2026.matched_dice.std); }},
      {"LW2026_matched_HD95", [](const RegionScores& s) { return csv_number(s.instances_2026.matched_hd95_mm.mean); }},
      {"LW2026_matched_HD95_std",
       [](const RegionScores& s) { return csv_number(s.instances_2026.matched_hd95_mm.std); }},
      {"LW2026_matched_NSD", [](const RegionScores& s) { return csv_number(s.instances_2026.matched_nsd.mean); }},
      {"LW2026_matched_NSD_std", [](const RegionScores& s) { return csv_number(s.instances_2026.matched_nsd.std); }},
  };
}

// Columns METRIC_REGION, all regions of a metric side by side.
CsvTable table_of(const Metrics& metrics, const std::vector<CaseScores>& cases) {
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

std::string joined_text(const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& s : sentences) text += (text.empty() ? "" : "; ") + s;
  return text;
}

std::vector<std::string> lesion_row(const std::string& sample, const std::string& region, const Lesion& l) {
  std::vector<std::string> row{sample, region, name_of(l.kind), std::to_string(l.id)};
  for (const double mm : l.centre_mm) row.push_back(csv_number(mm));
  for (const size_t axis : {2, 1, 0}) row.push_back(csv_number(l.centre[axis]));
  const std::string slices = std::to_string(l.axial.slices), yes = l.measurable() ? "1" : "0";
  for (const std::string& cell :
       {std::to_string(l.voxels), csv_number(l.volume_mm3), csv_number(l.diameter_mm), csv_number(l.axial.longest_mm),
        csv_number(l.axial.longest_centres_mm), csv_number(l.axial.perpendicular_mm), slices, yes})
    row.push_back(cell);
  const bool matched = l.kind == LesionKind::matched;
  row.push_back(l.is_true() ? std::to_string(l.overlap_voxels) : "");
  row.push_back(l.is_true() ? csv_number(l.dice) : "");
  row.push_back(l.is_true() ? csv_number(l.hd95_mm) : "");
  row.push_back(matched ? csv_number(l.predicted_volume_mm3) : "");
  row.push_back(matched ? csv_number(l.predicted_axial.longest_mm) : "");
  row.push_back(matched ? csv_number(l.predicted_axial.perpendicular_mm) : "");
  row.push_back(matched ? "" : csv_number(l.nearest_mm));
  return row;
}

}  // namespace

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
  Metrics metrics = extended_metrics();
  for (const Metrics& more : {legacy_metrics(), lesionwise_metrics<&RegionScores::lesionwise_2023>("LW2023"),
                              lesionwise_metrics<&RegionScores::lesionwise_2024>("LW2024"), instance_metrics()})
    metrics.insert(metrics.end(), more.begin(), more.end());
  CsvTable table = table_of(metrics, cases);
  for (const char* name : {"Measurable_true", "Measurable_predicted", "SLD_true", "SLD_predicted", "notes"})
    table.columns.push_back(name);
  for (size_t i = 0; i < cases.size(); ++i) {
    const CaseScores& c = cases[i];
    for (const std::string& cell :
         {std::to_string(c.true_targets.measurable), std::to_string(c.predicted_targets.measurable),
          csv_number(c.true_targets.sum_mm), csv_number(c.predicted_targets.sum_mm), joined_text(notes_of(c))})
      table.rows[i].push_back(cell);
  }
  return table;
}

CsvTable lesions_table(const std::vector<CaseScores>& cases) {
  const auto regions = metastasis_regions();
  CsvTable table{{"sample",
                  "region",
                  "kind",
                  "id",
                  "x_mm",
                  "y_mm",
                  "z_mm",
                  "i",
                  "j",
                  "k",
                  "voxels",
                  "volume_mm3",
                  "diameter_mm",
                  "longest_mm",
                  "longest_centres_mm",
                  "perpendicular_mm",
                  "slices",
                  "measurable",
                  "overlap_voxels",
                  "dice",
                  "hd95_mm",
                  "predicted_volume_mm3",
                  "predicted_longest_mm",
                  "predicted_perpendicular_mm",
                  "nearest_mm"},
                 {}};
  for (const CaseScores& c : cases)
    for (size_t r = 0; r < regions.size(); ++r)
      for (const Lesion& l : c.regions[r].lesions) table.rows.push_back(lesion_row(c.sample, regions[r].name, l));
  return table;
}

}  // namespace metvox
