// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/intervals.h"

#include <gtest/gtest.h>

#include <cmath>

#include "segmentation/study/distributions.h"
#include "tests/segmentation/statistics_golden.h"

namespace metvox {

TEST(intervals, students_is_scipys) {
  for (const Json& c : statistics_golden().at("intervals")) {
    const Interval got = student_interval(doubles(c["x"]));
    EXPECT_NEAR(got.low, c["student"][0].get<double>(), 1e-12);
    EXPECT_NEAR(got.high, c["student"][1].get<double>(), 1e-12);
  }
}

// SciPy's have 200000 resamples of their own. An end at share 0.025 of 10000 means lies within 5 standard deviations of
// sqrt(.025 * .975 / 10000) = 0.0016 of its share; at the slope of a normal density there that is 0.14 of the mean's
// standard error, and the same again for a share that bias and acceleration have moved outwards.
TEST(intervals, bootstrap_is_scipys_up_to_chance) {
  Bootstrap bootstrap(7);
  for (const Json& c : statistics_golden().at("intervals")) {
    const auto x = doubles(c["x"]);
    const double error = std_sample(x) / std::sqrt(static_cast<double>(x.size()));
    const Interval got = bootstrap.of_mean(x);
    EXPECT_NEAR(got.low, c["bca"][0].get<double>(), 0.28 * error) << c.dump();
    EXPECT_NEAR(got.high, c["bca"][1].get<double>(), 0.28 * error) << c.dump();
  }
}

TEST(intervals, bootstrap_stays_in_range_and_repeats) {
  const std::vector<double> skewed{1, 1, 1, 1, 1, 1, 1, 1, 1, 0.02}, two{0, 1}, same(5, 0.25);
  for (const auto& x : {skewed, two}) {
    const Interval a = Bootstrap(1).of_mean(x), b = Bootstrap(1).of_mean(x);
    EXPECT_EQ(a.low, b.low);
    EXPECT_EQ(a.high, b.high);
    EXPECT_GE(a.low, 0);
    EXPECT_LE(a.high, 1);
    EXPECT_LE(a.low, mean(x));
    EXPECT_GE(a.high, mean(x));
  }
  EXPECT_LT(student_interval(two).low, 0);
  EXPECT_EQ(Bootstrap(1).of_mean(same).low, 0.25);
  EXPECT_EQ(Bootstrap(1).of_mean(same).high, 0.25);
  const auto plain = doubles(statistics_golden().at("intervals")[3]["x"]);
  EXPECT_NE(Bootstrap(1).of_mean(plain).low, Bootstrap(2).of_mean(plain).low);
  EXPECT_TRUE(std::isnan(Bootstrap(1).of_mean(std::vector<double>{3}).low));
}

TEST(intervals, wilsons_is_scipys) {
  for (const Json& c : statistics_golden().at("wilson")) {
    const Interval got = wilson_interval(c[0], c[1]);
    EXPECT_NEAR(got.low, c[2].get<double>(), 1e-14);
    EXPECT_NEAR(got.high, c[3].get<double>(), 1e-14);
  }
  EXPECT_TRUE(std::isnan(wilson_interval(0, 0).low));
}

// Of a difference of one deviation the power is in the golden file; the detectable one has power 0.8.
TEST(intervals, detectable_difference_has_power_080) {
  for (const Json& c : statistics_golden().at("power")) {
    const size_t n = c[0];
    const auto degrees = static_cast<double>(n) - 1, root = std::sqrt(static_cast<double>(n));
    const bool two_sided = c[1] == "two-sided";
    const double critical = student_quantile(two_sided ? 0.975 : 0.95, degrees);
    EXPECT_NEAR(noncentral_student_above(critical, degrees, root), c[2].get<double>(), 1e-9);
    const double d = detectable_difference(3, n, two_sided ? Alternative::two_sided : Alternative::greater);
    EXPECT_NEAR(noncentral_student_above(critical, degrees, root * d / 3), 0.8, 1e-9);
  }
  EXPECT_EQ(detectable_difference(0, 10, Alternative::less), 0);
  EXPECT_TRUE(std::isnan(detectable_difference(1, 1, Alternative::less)));
  EXPECT_EQ(smallest_p(10, Alternative::greater), 1.0 / 1024);
  EXPECT_EQ(smallest_p(10, Alternative::two_sided), 1.0 / 512);
  EXPECT_EQ(smallest_p(0, Alternative::two_sided), 1);
}

}  // namespace metvox
