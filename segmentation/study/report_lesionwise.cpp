// SPDX-License-Identifier: Apache-2.0
// What evaluate says of all cases together (summary.json, "overview"): lesion-wise scores, FROC, agreement.
#include <algorithm>
#include <cmath>

#include "segmentation/evaluation/html.h"
#include "segmentation/study/report_data.h"

namespace metvox {
namespace {

struct Shown {
  const char *column, *title;
  int digits;
};
constexpr std::array<Shown, 9> kShown{{{"LW2023_Dice", "2023 Dice", 3},
                                       {"LW2023_HD95", "2023 HD95", 1},
                                       {"LW2024_Dice", "2024 Dice", 3},
                                       {"LW2024_HD95", "2024 HD95", 1},
                                       {"LW2026_F1", "2026 F1", 3},
                                       {"LW2026_Dice", "2026 Dice", 3},
                                       {"LW2026_NSD", "2026 NSD", 3},
                                       {"NSD_1mm", "NSD 1 mm", 3},
                                       {"HD100", "HD100", 1}}};

// Means over cases of the tumour core; empty where no system has any.
std::string means_table(const StudyResults& r) {
  CsvTable table{{"System"}, {}};
  std::vector<Shown> shown;
  for (const Shown& s : kShown)
    if (std::any_of(r.systems.begin(), r.systems.end(), [&](const StudyResult& result) {
          return std::isfinite(number_at(result.overview, sentence("/columns/", s.column, "_tc/mean")));
        })) {
      shown.push_back(s);
      table.columns.push_back(s.title);
    }
  if (shown.empty()) return "";
  for (const StudyResult& result : r.systems) {
    auto& row = table.rows.emplace_back(1, result.system.name());
    for (const Shown& s : shown)
      row.push_back(html::fixed(number_at(result.overview, sentence("/columns/", s.column, "_tc/mean")), s.digits));
  }
  return html::table(table) +
         "<p class=\"soft\">Tumour core, means over cases. 2023, 2024, 2026: the rules of the BraTS-METS challenges, "
         "lesion by lesion, where a missed or a false lesion has Dice 0 and 373 or 374 mm; distances in mm.</p>\n";
}

// In the order of the thresholds.
std::vector<svg::Point> froc_points(const StudyResult& result) {
  return points_at(result.overview, "/froc/tc/points", "/false_per_case", "/recall");
}

std::string froc_figure(const StudyResults& r) {
  std::vector<double> across{0};
  for (const StudyResult& result : r.systems)
    for (const svg::Point& p : froc_points(result)) across.push_back(p.x);
  if (across.size() == 1) return "";
  std::vector<std::string> plots;
  for (const StudyModel& m : r.config.models) {
    svg::Plot plot({m.name, "false lesions a case", "recall"}, svg::axis_over(across, 5), {0, 1, 0.2});
    plot.number_x();
    for (const Regime regime : {Regime::fine_tuned, Regime::scratch}) {
      plot.legend(name_of(regime), regime_colour(name_of(regime)));
      if (const StudyResult* result = r.find(m.name, regime))
        plot.curve(froc_points(*result), regime_colour(name_of(regime)), 2);
    }
    plots.push_back(plot.svg());
  }
  return side_by_side(plots) +
         "<p class=\"soft\">FROC of the tumour core: lesions found against false ones, as the probability from which a "
         "voxel counts is moved; where that joins or parts false lesions, a curve turns back.</p>\n";
}

struct Measured {
  const char *pointer, *title, *unit;
  int digits;
};
constexpr std::array<Measured, 3> kMeasured{
    {{"/agreement/tc/case_volume_ml", "Volume of the tumour core", "mL", 2},
     {"/agreement/sum_of_longest_diameters_mm", "Sum of longest diameters (RANO-BM)", "mm", 1},
     {"/agreement/tc/longest_mm", "Longest diameter of a found lesion", "mm", 1}}};

std::string agreement_table(const StudyResults& r, const Measured& m) {
  CsvTable table{{sentence(m.title, ", ", m.unit), "Pairs", "Bias", "Limits of agreement", "Concordance"}, {}};
  for (const StudyResult& result : r.systems) {
    const auto value = [&](const char* key, int digits) {
      return html::fixed(number_at(result.overview, sentence(m.pointer, "/", key)), digits);
    };
    if (!std::isfinite(number_at(result.overview, sentence(m.pointer, "/bias")))) continue;
    table.rows.push_back({result.system.name(), value("n", 0), value("bias", m.digits),
                          value("limit_low", m.digits) + " to " + value("limit_high", m.digits),
                          value("concordance", 3)});
  }
  return table.rows.empty() ? "" : html::table(table);
}

std::string agreement_tables(const StudyResults& r) {
  std::string out;
  for (const Measured& m : kMeasured) out += agreement_table(r, m);
  if (out.empty()) return "";
  return "<h3>Agreement of sizes</h3>\n" + out +
         "<p class=\"soft\">Predicted minus true (Bland and Altman; Lin's concordance): volumes and RANO-BM's sums of "
         "the longest axial diameters case by case, diameters lesion by lesion.</p>\n";
}

}  // namespace

std::string lesionwise_section(const StudyResults& r) {
  const std::string inside = means_table(r) + froc_figure(r) + agreement_tables(r);
  return inside.empty() ? "" : "<h2>Lesion by lesion</h2>\n" + inside;
}

}  // namespace metvox
