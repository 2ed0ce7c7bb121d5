// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/shapiro_wilk.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "segmentation/study/distributions.h"

namespace metvox {

namespace {

double polynomial(std::initializer_list<double> coefficients, double x) {
  double sum = 0, power = 1;
  for (const double c : coefficients) {
    sum += c * power;
    power *= x;
  }
  return sum;
}

// Weights of the upper half, largest first; the lower half has them with the other sign.
std::vector<double> upper_weights(size_t n) {
  std::vector<double> a(n / 2);
  if (n == 3) return {std::sqrt(0.5)};
  double squares = 0;  // of all n expected normal order statistics
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = -normal_quantile((static_cast<double>(i) + 0.625) / (static_cast<double>(n) + 0.25));
    squares += 2 * a[i] * a[i];
  }
  const double root = 1 / std::sqrt(static_cast<double>(n)), length = std::sqrt(squares);
  const size_t fitted = n > 5 ? 2 : 1;
  const double first = a[0] / length + polynomial({0, 0.221157, -0.147981, -2.071190, 4.434685, -2.706056}, root);
  const double second =
      fitted == 1 ? 0 : a[1] / length + polynomial({0, 0.042981, -0.293762, -1.752461, 5.682633, -3.582633}, root);
  double rest = squares - 2 * a[0] * a[0], free = 1 - 2 * first * first;
  if (fitted == 2) {
    rest -= 2 * a[1] * a[1];
    free -= 2 * second * second;
  }
  for (double& weight : a) weight /= std::sqrt(rest / free);
  a[0] = first;
  if (fitted == 2) a[1] = second;
  return a;
}

double p_value(double w, double complement, size_t n) {
  if (n == 3) return std::max(0.0, 6 / std::numbers::pi * (std::asin(std::sqrt(w)) - std::asin(std::sqrt(0.75))));
  const auto size = static_cast<double>(n);
  double y = std::log(complement), mean, deviation;
  if (n <= 11) {
    const double gamma = polynomial({-2.273, 0.459}, size);
    if (y >= gamma) return 1e-99;
    y = -std::log(gamma - y);
    mean = polynomial({0.5440, -0.39978, 0.025054, -6.714e-4}, size);
    deviation = std::exp(polynomial({1.3822, -0.77857, 0.062767, -0.0020322}, size));
  } else {
    mean = polynomial({-1.5861, -0.31082, -0.083751, 0.0038915}, std::log(size));
    deviation = std::exp(polynomial({-0.4803, -0.082676, 0.0030302}, std::log(size)));
  }
  return normal_above((y - mean) / deviation);
}

}  // namespace

TestResult shapiro_wilk(std::span<const double> values) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const size_t n = values.size();
  std::vector<double> x(values.begin(), values.end());
  std::sort(x.begin(), x.end());
  if (n < 3 || x.front() == x.back()) return {nan, nan};

  const double middle = x[n / 2], range = x.back() - x.front();
  double mean = 0;
  for (double& value : x) mean += (value = (value - middle) / range) / static_cast<double>(n);
  const std::vector<double> upper = upper_weights(n);
  std::vector<double> weights(n);
  for (size_t i = 0; i < upper.size(); ++i) weights[i] = -(weights[n - 1 - i] = upper[i]);

  double ww = 0, xx = 0, wx = 0;
  for (size_t i = 0; i < n; ++i) {
    ww += weights[i] * weights[i];
    xx += (x[i] - mean) * (x[i] - mean);
    wx += weights[i] * (x[i] - mean);
  }
  // 1 - W without the loss of digits where W is near 1.
  const double both = std::sqrt(ww * xx), complement = (both - wx) * (both + wx) / (ww * xx);
  const double w = 1 - complement;
  return {w, p_value(w, complement, n)};
}

}  // namespace metvox
