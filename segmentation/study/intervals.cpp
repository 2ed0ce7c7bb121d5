// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/intervals.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "segmentation/study/distributions.h"
#include "tensor/random.h"

namespace metvox {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kResamples = 10000, kMostResampled = 2000;
constexpr double kLevel = 0.05, kPower = 0.8;

// Efron's a: a sixth of the skewness of the jackknife's means.
double acceleration(std::span<const double> values) {
  const double centre = mean(values);
  double squares = 0, cubes = 0;
  for (const double v : values) {
    squares += (v - centre) * (v - centre);
    cubes += (v - centre) * (v - centre) * (v - centre);
  }
  return cubes / (6 * std::pow(squares, 1.5));
}

double share_below(const std::vector<double>& means, double estimate) {
  double below = 0;
  for (const double m : means) below += m < estimate ? 1 : m == estimate ? 0.5 : 0;
  const auto count = static_cast<double>(means.size());
  return std::clamp(below, 0.5, count - 0.5) / count;
}

}  // namespace

Interval student_interval(std::span<const double> values) {
  if (values.size() < 2) return {kNaN, kNaN};
  const auto n = static_cast<double>(values.size());
  const double half = student_quantile(1 - kLevel / 2, n - 1) * std_sample(values) / std::sqrt(n),
               centre = mean(values);
  return {centre - half, centre + half};
}

const std::vector<uint16_t>& Bootstrap::resamples(size_t n) {
  std::vector<uint16_t>& drawn = drawn_[n];
  if (!drawn.empty()) return drawn;
  drawn.resize(kResamples * n);
  Random random(seed_, n);
  for (uint16_t& index : drawn) index = static_cast<uint16_t>(random.below(static_cast<int64_t>(n)));
  return drawn;
}

Interval Bootstrap::of_mean(std::span<const double> values) {
  const size_t n = values.size();
  if (n < 2) return {kNaN, kNaN};
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  if (*least == *most) return {*least, *least};
  if (n > kMostResampled) return student_interval(values);

  std::vector<double> means(kResamples);
  const uint16_t* index = resamples(n).data();
  for (double& m : means) {
    for (size_t i = 0; i < n; ++i) m += values[*index++];
    m /= static_cast<double>(n);
  }
  const double bias = normal_quantile(share_below(means, mean(values))), a = acceleration(values);
  const auto end = [&](double share) {
    const double z = bias + normal_quantile(share);
    return std::clamp(quantile(means, normal_below(bias + z / (1 - a * z))), *least, *most);
  };
  return {end(kLevel / 2), end(1 - kLevel / 2)};
}

double detectable_difference(double deviation, size_t n, Alternative alternative) {
  if (n < 2) return kNaN;
  const auto count = static_cast<double>(n);
  const bool two_sided = alternative == Alternative::two_sided;
  const double critical = student_quantile(1 - (two_sided ? kLevel / 2 : kLevel), count - 1);
  double low = 0, high = 2 * critical + 10;  // of the non-centrality
  while (high - low > 1e-12 * high) {
    const double middle = 0.5 * (low + high);
    // The far tail of a two-sided test is below 1e-4 here, and on the wrong side.
    (noncentral_student_above(critical, count - 1, middle) < kPower ? low : high) = middle;
  }
  return high * deviation / std::sqrt(count);
}

double smallest_p(size_t n, Alternative alternative) {
  const double one_sided = std::ldexp(1.0, -static_cast<int>(n));
  return alternative == Alternative::two_sided ? std::min(1.0, 2 * one_sided) : one_sided;
}

}  // namespace metvox
