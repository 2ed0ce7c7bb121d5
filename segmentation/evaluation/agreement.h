// SPDX-License-Identifier: Apache-2.0
// How well predicted sizes agree with true ones: Bland and Altman's limits (Lancet 1986; 327: 307-10), Lin's
// concordance correlation (Biometrics 1989; 45: 255-68), Shrout and Fleiss's ICC(2,1) (Psychol Bull 1979; 86: 420-8),
// Cohen's kappa (Educ Psychol Meas 1960; 20: 37-46; weighted: Psychol Bull 1968; 70: 213-20).
#pragma once
#include <span>

#include "segmentation/evaluation/moments.h"

namespace metvox {

struct Agreement {
  int64_t n = 0;
  double bias = 0;                  // mean of predicted - true
  double spread = 0;                // sample standard deviation of these differences
  Interval limits;                  // bias -+ 1.96 spread
  double concordance = 0, icc = 0;  // 1: equal; NaN where neither varies
};

// Pairs of finite values.
Agreement agreement(std::span<const double> truth, std::span<const double> predicted);

// Of two yes-or-no judgements: 1 always the same, 0 as by chance, NaN where both always say one thing.
double cohen_kappa(int64_t both, int64_t only_first, int64_t only_second, int64_t neither);
// Of two judges' answers to the same questions: answers that differ count 1, or the square of how much they do.
enum class KappaWeights { none, quadratic };
double cohen_kappa(std::span<const double> first, std::span<const double> second, KappaWeights weights);
double share_equal(std::span<const double> first, std::span<const double> second);

}  // namespace metvox
