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

std::vector<svg::Point> froc_points(const StudyResult& result) {
  std::vector<svg::Point> points = points_at(result.overview, "/froc/tc/points", "/false_per_case", "/recall");
  std::sort(points.begin(), points.end(), [](const svg::Point& a, const svg::Point& b) { return a.x < b.x; });
  return points;
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
         "voxel counts is moved.</p>\n";
}

std::string agreement_table(const StudyResults& r) {
  CsvTable table{{"System", "Bias, mL", "Limits of agreement, mL", "Concordance"}, {}};
  for (const StudyResult& result : r.systems) {
    const auto value = [&](const char* key, int digits) {
      return html::fixed(number_at(result.overview, sentence("/agreement/tc/case_volume_ml/", key)), digits);
    };
    if (!std::isfinite(number_at(result.overview, "/agreement/tc/case_volume_ml/bias"))) continue;
    table.rows.push_back({result.system.name(), value("bias", 2),
                          value("limit_low", 2) + " to " + value("limit_high", 2), value("concordance", 3)});
  }
  if (table.rows.empty()) return "";
  return html::table(table) +
         "<p class=\"soft\">Volume of the tumour core, predicted minus true, case by case (Bland and Altman; Lin's "
         "concordance).</p>\n";
}

}  // namespace

std::string lesionwise_section(const StudyResults& r) {
  const std::string inside = means_table(r) + froc_figure(r) + agreement_table(r);
  return inside.empty() ? "" : "<h2>Lesion by lesion</h2>\n" + inside;
}

}  // namespace metvox
