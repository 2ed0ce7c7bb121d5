// SPDX-License-Identifier: Apache-2.0
// Means, spreads, and the interval of a share. What is not defined (a mean of nothing, a spread of one value) is NaN.
#pragma once
#include <cstdint>
#include <span>

namespace metvox {

struct Interval {
  double low = 0, high = 0;
};

double mean(std::span<const double> values);
double std_population(std::span<const double> values);  // divided by n
double std_sample(std::span<const double> values);      // by n - 1

// The value with `share` of the others below it, linear between neighbours, as NumPy's default. Not of nothing; the
// values are put in another order, of which nothing is known.
double quantile(std::span<double> values, double share);

// Wilson's 95 % interval of a share; NaN for none of none.
Interval wilson_interval(int64_t successes, int64_t n);

}  // namespace metvox
