// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/shapiro_wilk.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/segmentation/statistics_golden.h"

namespace metvox {

// SciPy's quantiles (AS 111) are good to 1e-8, ours to 1e-15.
TEST(shapiro_wilk, is_scipys) {
  for (const Json& c : statistics_golden().at("shapiro")) {
    const TestResult got = shapiro_wilk(doubles(c["x"]));
    const double w = c["result"][0], p = c["result"][1];
    EXPECT_NEAR(got.statistic, w, 1e-8) << c.dump();
    EXPECT_NEAR(got.p_value, p, 1e-6 * p) << c.dump();
  }
}

TEST(shapiro_wilk, knows_neither_place_nor_scale) {
  std::vector<double> x{.91, .83, .97, .96, .55, .88, .93}, moved;
  for (const double v : x) moved.push_back(1e-12 * v);
  EXPECT_NEAR(shapiro_wilk(x).statistic, shapiro_wilk(moved).statistic, 1e-13);
  EXPECT_NEAR(shapiro_wilk(x).p_value, shapiro_wilk(moved).p_value, 1e-13);
}

// Three values: W of 1 2 3 is 1, of two that are equal 3/4, the least that there is.
TEST(shapiro_wilk, by_hand) {
  EXPECT_NEAR(shapiro_wilk(std::vector<double>{3, 1, 2}).statistic, 1, 1e-15);
  EXPECT_NEAR(shapiro_wilk(std::vector<double>{3, 1, 2}).p_value, 1, 1e-7);
  EXPECT_NEAR(shapiro_wilk(std::vector<double>{1, 1, 2}).statistic, 0.75, 1e-15);
  EXPECT_NEAR(shapiro_wilk(std::vector<double>{1, 1, 2}).p_value, 0, 1e-7);
  EXPECT_TRUE(std::isnan(shapiro_wilk(std::vector<double>{1, 2}).statistic));
  EXPECT_TRUE(std::isnan(shapiro_wilk(std::vector<double>{1, 1, 1, 1}).p_value));
}

}  // namespace metvox
