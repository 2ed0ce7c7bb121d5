// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/distributions.h"

#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/non_central_t.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>

namespace metvox {

namespace bm = boost::math;

double normal_below(double z) { return 0.5 * std::erfc(-z * std::sqrt(0.5)); }
double normal_above(double z) { return normal_below(-z); }
double normal_quantile(double p) { return bm::quantile(bm::normal(), p); }
double student_quantile(double p, double degrees) { return bm::quantile(bm::students_t(degrees), p); }
double chi_squared_above(double x, double degrees) { return bm::cdf(bm::complement(bm::chi_squared(degrees), x)); }

double noncentral_student_above(double t, double degrees, double noncentrality) {
  return bm::cdf(bm::complement(bm::non_central_t(degrees, noncentrality), t));
}

}  // namespace metvox
