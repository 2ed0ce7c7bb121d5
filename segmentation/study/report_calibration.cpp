// SPDX-License-Identifier: Apache-2.0
// The page's calibration: do the ensembles' probabilities mean what they say?
#include "segmentation/evaluation/calibration.h"
#include "segmentation/evaluation/html.h"
#include "segmentation/study/report_data.h"

namespace metvox {
namespace {

constexpr const char* kIdeal = "#9aa3af";

// A point a bin that has voxels: mean probability, share of them that is truly inside.
std::vector<svg::Point> reliability(const StudyResult& result) {
  return points_at(result.overview, "/calibration/tc/bins", "/mean_probability", "/share_inside");
}

std::string diagrams(const StudyResults& r) {
  std::vector<std::string> plots;
  for (const StudyModel& m : r.config.models) {
    svg::Plot plot({m.name, "mean probability", "share inside"}, {0, 1, 0.2}, {0, 1, 0.2});
    plot.number_x();
    plot.curve({{0, 0}, {1, 1}}, kIdeal, 1);
    for (const Regime regime : {Regime::fine_tuned, Regime::scratch}) {
      const std::string colour = regime_colour(name_of(regime));
      const StudyResult* result = r.find(m.name, regime);
      plot.legend(name_of(regime), colour);
      if (!result) continue;
      const std::vector<svg::Point> points = reliability(*result);
      plot.curve(points, colour, 2);
      for (const svg::Point& p : points)
        plot.point(p.x, p.y, colour,
                   result->system.name() + ": " + html::fixed(p.x, 2) + " said, " + html::fixed(p.y, 2) + " true");
    }
    plot.legend("as it should be", kIdeal);
    plots.push_back(plot.svg());
  }
  return side_by_side(plots);
}

}  // namespace

std::string calibration_section(const StudyResults& r) {
  CsvTable table{{"System", "ECE ET", "ECE TC", "ECE WT", "Bias ET", "Bias TC", "Bias WT"}, {}};
  for (const StudyResult& result : r.systems) {
    std::vector<std::string> row{result.system.name()};
    for (const char* number : {"ece", "bias"})
      for (const char* region : {"et", "tc", "wt"})
        row.push_back(html::fixed(number_at(result.overview, sentence("/calibration/", region, "/", number)), 3));
    if (result.overview.contains("calibration") && !result.overview["calibration"].empty()) table.rows.push_back(row);
  }
  if (table.rows.empty())
    return sentence("<h2>Calibration</h2>\n<p class=\"soft\">",
                    r.config.probabilities ? "Nothing was given a probability that could be judged."
                                           : "Probabilities were not kept (prediction.probabilities), so neither this "
                                             "nor a FROC is there.",
                    "</p>\n");
  return "<h2>Calibration</h2>\n" + diagrams(r) + html::table(table) +
         sentence(
             "<p class=\"soft\">Reliability of the tumour core's probability, ten bins: of the voxels that are "
             "given 0.7, 7 of 10 should be tumour. Below the line: promised too much. ECE, the expected "
             "calibration error: the mean distance from that line, bins weighted by voxels; bias: mean "
             "probability minus the share that is truly inside. Counted are boxes, with a margin of ",
             kCalibrationMargin_mm, " mm, around all that is tumour or is given ", kCalibrationFloor,
             " or more; elsewhere the model is sure, and right, of the background.</p>\n");
}

}  // namespace metvox
