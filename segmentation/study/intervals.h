// SPDX-License-Identifier: Apache-2.0
// Intervals of means, and what a paired study of n cases could have shown. Values are finite; what is not defined (a
// spread of one value) is NaN.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "segmentation/evaluation/moments.h"
#include "segmentation/study/rank_tests.h"

namespace metvox {

// 95 % intervals of the mean. Student's may leave the range that the values can have.
Interval student_interval(std::span<const double> values);

// Bias-corrected and accelerated bootstrap (Efron 1987), 10000 resamples; never leaves the range of the values, and
// is that one value where they are all equal. Resamples follow from the seed and n alone, so that columns of a table
// share them. Above 2000 values it is Student's interval, from which it then does not differ.
class Bootstrap {
 public:
  explicit Bootstrap(uint64_t seed) : seed_(seed) {}
  Interval of_mean(std::span<const double> values);

 private:
  const std::vector<uint16_t>& resamples(size_t n);
  uint64_t seed_;
  std::map<size_t, std::vector<uint16_t>> drawn_;  // by n: 10000 times n indices
};

// The smallest true mean difference that n pairs, whose differences have this standard deviation, would have shown at
// the 5 % level with probability 0.8: that of the paired t-test, which Wilcoxon's test is close to (efficiency 0.955
// at normal differences).
double detectable_difference(double deviation, size_t n, Alternative alternative);
// The smallest p value that the exact signed-rank test can give with n non-zero differences.
double smallest_p(size_t n, Alternative alternative);

}  // namespace metvox
