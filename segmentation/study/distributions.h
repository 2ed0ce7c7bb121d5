// SPDX-License-Identifier: Apache-2.0
// Tails and quantiles of the distributions that tests and intervals need, in double precision.
#pragma once

namespace metvox {

double normal_below(double z);
double normal_above(double z);
double normal_quantile(double p);  // p in (0, 1)
double student_quantile(double p, double degrees);
double chi_squared_above(double x, double degrees);
// P(T > t) for the non-central t distribution.
double noncentral_student_above(double t, double degrees, double noncentrality);

}  // namespace metvox
