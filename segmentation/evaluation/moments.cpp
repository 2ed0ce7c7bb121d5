// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/moments.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace metvox {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double squared_deviations(std::span<const double> values) {
  const double centre = mean(values);
  double sum = 0;
  for (const double v : values) sum += (v - centre) * (v - centre);
  return sum;
}

}  // namespace

double mean(std::span<const double> values) {
  if (values.empty()) return kNaN;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double std_population(std::span<const double> values) {
  return values.empty() ? kNaN : std::sqrt(squared_deviations(values) / static_cast<double>(values.size()));
}

double std_sample(std::span<const double> values) {
  return values.size() < 2 ? kNaN : std::sqrt(squared_deviations(values) / static_cast<double>(values.size() - 1));
}

double quantile(std::span<double> values, double share) {
  const double place = share * static_cast<double>(values.size() - 1);
  const auto low = values.begin() + static_cast<int64_t>(place);
  std::nth_element(values.begin(), low, values.end());
  if (low + 1 == values.end()) return *low;
  const double next = *std::min_element(low + 1, values.end());
  return *low + (place - std::floor(place)) * (next - *low);
}

Interval wilson_interval(int64_t successes, int64_t n) {
  constexpr double z = 1.959963984540054;  // 97.5 % of the normal distribution lie below
  if (n == 0) return {kNaN, kNaN};
  const auto count = static_cast<double>(n);
  const double share = static_cast<double>(successes) / count, shrink = 1 / (1 + z * z / count);
  const double centre = shrink * (share + z * z / (2 * count));
  const double half = shrink * z * std::sqrt(share * (1 - share) / count + z * z / (4 * count * count));
  return {successes == 0 ? 0 : centre - half, successes == n ? 1 : centre + half};
}

}  // namespace metvox
