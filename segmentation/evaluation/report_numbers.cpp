// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "segmentation/evaluation/report.h"

namespace metvox {

namespace {

double number(const std::string& text, const Path& named) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end) fail(Fault::input, named.string(), ": \"", text, "\" is not a number");
  return value;
}

double finite_mean(const CsvTable& table, const std::string& name, const Path& named, int64_t& count) {
  const size_t column = table.column(name, named);
  double sum = 0;
  count = 0;
  for (const auto& row : table.rows) {
    const double value = number(row[column], named);
    if (!std::isfinite(value)) continue;
    sum += value;
    ++count;
  }
  return count ? sum / static_cast<double>(count) : std::numeric_limits<double>::quiet_NaN();
}

void tally(ReportNumbers::SizeBin& bin, const std::string& kind, double diameter_mm) {
  if (diameter_mm < bin.from_mm || diameter_mm >= bin.below_mm) return;
  bin.lesions += kind != "false";
  bin.found += kind == "matched";
  bin.false_positives += kind == "false";
}

}  // namespace

ReportNumbers report_numbers(const CsvTable& scores, const CsvTable& lesions, const Path& named) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto regions = metastasis_regions();
  ReportNumbers n;
  n.cases = static_cast<int64_t>(scores.rows.size());
  for (size_t r = 0; r < regions.size(); ++r) {
    n.dice[r] = finite_mean(scores, "DICE_" + regions[r].name, named / "scores.csv", n.dice_cases[r]);
    n.hd95_mm[r] = finite_mean(scores, "Hausdorff_" + regions[r].name, named / "scores.csv", n.hd95_cases[r]);
  }
  n.bins = {{0, 3}, {3, 5}, {5, 10}, {10, kInfinity}};
  n.from_8_mm = {8, kInfinity};
  n.all = {0, kInfinity};
  const Path file = named / "lesions.csv";
  const size_t region = lesions.column("region", file), kind = lesions.column("kind", file),
               diameter = lesions.column("diameter_mm", file);
  for (const auto& row : lesions.rows) {
    if (row[region] != "tc") continue;
    const double mm = number(row[diameter], file);
    for (auto& bin : n.bins) tally(bin, row[kind], mm);
    tally(n.from_8_mm, row[kind], mm);
    tally(n.all, row[kind], mm);
  }
  return n;
}

}  // namespace metvox
