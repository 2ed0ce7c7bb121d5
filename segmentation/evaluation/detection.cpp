// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/detection.h"

#include <algorithm>
#include <limits>

namespace metvox {

namespace {

double ratio(int64_t a, int64_t b) { return static_cast<double>(a) / static_cast<double>(b); }

void tally(SizeBin& bin, LesionKind kind, double mm) {
  if (mm < bin.from_mm || mm >= bin.below_mm) return;
  bin.lesions += kind != LesionKind::false_positive;
  bin.found += kind == LesionKind::matched;
  bin.false_positives += kind == LesionKind::false_positive;
}

double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace

double SizeBin::recall() const { return ratio(found, lesions); }
double SizeBin::precision() const { return ratio(found, found + false_positives); }
double SizeBin::f1() const { return ratio(2 * found, found + lesions + false_positives); }

Detection detection_by_size(const std::vector<std::vector<Lesion>>& cases, LesionSize size) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Detection d;
  d.bins = {{0, 3}, {3, 5}, {5, 10}, {10, kInfinity}};
  d.all = {0, kInfinity};
  d.cases = static_cast<int64_t>(cases.size());
  std::vector<double> false_positives, recalls;
  for (const auto& lesions : cases) {
    SizeBin own{0, kInfinity};
    for (const Lesion& l : lesions) {
      const double mm = size == LesionSize::ball ? l.diameter_mm : l.axial.longest_mm;
      for (SizeBin& bin : d.bins) tally(bin, l.kind, mm);
      tally(d.all, l.kind, mm);
      tally(own, l.kind, mm);
    }
    false_positives.push_back(static_cast<double>(own.false_positives));
    if (own.lesions == 0) continue;
    recalls.push_back(own.recall());
    d.cases_all_found += own.found == own.lesions;
  }
  d.cases_with_lesions = static_cast<int64_t>(recalls.size());
  d.false_positives_mean = mean(false_positives);
  d.false_positives_median = median(false_positives);
  d.recall_per_case = mean(recalls);
  return d;
}

}  // namespace metvox
