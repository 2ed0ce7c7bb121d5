// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/agreement.h"

#include <limits>
#include <vector>

#include "tensor/error.h"

namespace metvox {

namespace {

// Two-way analysis of variance of n pairs: rows are the pairs, columns the two measurements.
double icc_2_1(std::span<const double> truth, std::span<const double> predicted, double bias) {
  const auto n = static_cast<double>(truth.size());
  const double grand = (mean(truth) + mean(predicted)) / 2;
  double rows = 0, residual = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    const double row = (truth[i] + predicted[i]) / 2, rest = (predicted[i] - truth[i] - bias) / 2;
    rows += 2 * (row - grand) * (row - grand);
    residual += 2 * rest * rest;
  }
  const double between_rows = rows / (n - 1), between_columns = n * bias * bias / 2, error = residual / (n - 1);
  return (between_rows - error) / (between_rows + error + 2 * (between_columns - error) / n);
}

}  // namespace

Agreement agreement(std::span<const double> truth, std::span<const double> predicted) {
  constexpr double z = 1.959963984540054;  // 97.5 % of the normal distribution lie below
  check(truth.size() == predicted.size(), "agreement: ", truth.size(), " true values, ", predicted.size(),
        " predicted");
  std::vector<double> differences(truth.size());
  for (size_t i = 0; i < truth.size(); ++i) differences[i] = predicted[i] - truth[i];
  Agreement a;
  a.n = static_cast<int64_t>(truth.size());
  a.bias = mean(differences);
  a.spread = std_sample(differences);
  a.limits = {a.bias - z * a.spread, a.bias + z * a.spread};
  const double mean_truth = mean(truth), mean_predicted = mean(predicted);
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    xx += (truth[i] - mean_truth) * (truth[i] - mean_truth);
    yy += (predicted[i] - mean_predicted) * (predicted[i] - mean_predicted);
    xy += (truth[i] - mean_truth) * (predicted[i] - mean_predicted);
  }
  a.concordance = 2 * xy / (xx + yy + static_cast<double>(a.n) * a.bias * a.bias);
  a.icc = a.n < 2 ? std::numeric_limits<double>::quiet_NaN() : icc_2_1(truth, predicted, a.bias);
  return a;
}

double cohen_kappa(int64_t both, int64_t only_first, int64_t only_second, int64_t neither) {
  const auto n = static_cast<double>(both + only_first + only_second + neither);
  const double observed = static_cast<double>(both + neither) / n;
  const double first = static_cast<double>(both + only_first) / n, second = static_cast<double>(both + only_second) / n;
  const double chance = first * second + (1 - first) * (1 - second);
  return (observed - chance) / (1 - chance);
}

double cohen_kappa(std::span<const double> first, std::span<const double> second, KappaWeights weights) {
  check(first.size() == second.size(), "cohen_kappa: ", first.size(), " answers, ", second.size(), " of the other");
  const auto weight = [&](double a, double b) {
    return weights == KappaWeights::quadratic ? (a - b) * (a - b) : a == b ? 0 : 1;
  };
  double observed = 0, chance = 0;  // mean weights of the pairs as they are, and of every two answers
  const auto n = static_cast<double>(first.size());
  for (size_t i = 0; i < first.size(); ++i) {
    observed += weight(first[i], second[i]) / n;
    for (size_t j = 0; j < second.size(); ++j) chance += weight(first[i], second[j]) / (n * n);
  }
  return chance == 0 ? std::numeric_limits<double>::quiet_NaN() : 1 - observed / chance;
}

double share_equal(std::span<const double> first, std::span<const double> second) {
  double equal = 0;
  for (size_t i = 0; i < first.size(); ++i) equal += first[i] == second[i];
  return equal / static_cast<double>(first.size());
}

}  // namespace metvox
