// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/rank_tests.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/segmentation/statistics_golden.h"

namespace metvox {
namespace {

constexpr Alternative kAlternatives[]{Alternative::two_sided, Alternative::less, Alternative::greater};

// SciPy takes some tails as 1 minus the other one, which costs it 1e-16 or so.
void expect_relative(double got, double expected, double tolerance, const std::string& what) {
  EXPECT_NEAR(got, expected, tolerance * std::abs(expected) + 2e-16) << what;
}

}  // namespace

TEST(rank_tests, ties_share_the_mean_of_their_ranks) {
  const double inf = std::numeric_limits<double>::infinity();
  const Ranks r = rank(std::vector<double>{3, 1, inf, 3, 2, inf, 3});
  EXPECT_EQ(r.ranks, (std::vector<double>{4, 1, 6.5, 4, 2, 6.5, 4}));
  EXPECT_EQ(r.tie_sum, 24 + 6);
}

TEST(rank_tests, wilcoxon_is_scipys_and_every_choice_of_signs) {
  for (const Json& c : statistics_golden().at("wilcoxon")) {
    const SignedRanks ranks = rank_signed(doubles(c["x"]));
    for (const Alternative side : kAlternatives) {
      const Json& expected = c[name_of(side)];
      const std::string what = name_of(side) + " " + c["x"].dump();
      const TestResult exact = wilcoxon_exact(ranks, side), approximate = wilcoxon_approximate(ranks, side);
      EXPECT_EQ(exact.statistic, expected[0].get<double>()) << what;
      if (!expected[1].is_null()) expect_relative(exact.p_value, expected[1], 1e-12, what);
      expect_relative(approximate.p_value, expected[2], 1e-12, what);
    }
  }
}

TEST(rank_tests, wilcoxon_by_hand) {
  // Ranks 1.5 1.5 3 of +1 -1 +2: sums of the positive ones over all signs are 0 1.5 1.5 3 3 4.5 4.5 6.
  const std::vector<double> d{1, 0, -1, 2, 0};
  EXPECT_EQ(wilcoxon(d, Alternative::greater).p_value, 3.0 / 8);
  EXPECT_EQ(wilcoxon(d, Alternative::less).p_value, 7.0 / 8);
  EXPECT_EQ(wilcoxon(d, Alternative::two_sided).p_value, 6.0 / 8);
  EXPECT_EQ(matched_rank_biserial(rank_signed(d)), 0.5);
  for (const Alternative side : kAlternatives) {
    EXPECT_EQ(wilcoxon(std::vector<double>(4, 0.0), side).p_value, 1);
    EXPECT_EQ(wilcoxon({}, side).p_value, 1);
  }
}

TEST(rank_tests, equal_infinities_do_not_differ) {
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(paired_differences(std::vector<double>{inf, inf, 3}, std::vector<double>{inf, 2, inf}),
            (std::vector<double>{0, inf, -inf}));
}

TEST(rank_tests, exact_and_approximate_agree_where_one_takes_over) {
  std::vector<double> d;
  for (size_t i = 0; i < kMostExactPairs; ++i)
    d.push_back(i % 7 < 3 ? -0.9 * static_cast<double>(i + 1) : 1.0 + static_cast<double>(i));
  const SignedRanks ranks = rank_signed(d);
  for (const Alternative side : kAlternatives)
    EXPECT_NEAR(wilcoxon_exact(ranks, side).p_value, wilcoxon_approximate(ranks, side).p_value, 2e-3);
}

TEST(rank_tests, mann_whitney_is_scipys) {
  for (const Json& c : statistics_golden().at("mann_whitney"))
    for (const Alternative side : kAlternatives) {
      const TestResult got = mann_whitney(doubles(c["a"]), doubles(c["b"]), side);
      EXPECT_EQ(got.statistic, c[name_of(side)][0].get<double>());
      expect_relative(got.p_value, c[name_of(side)][1], 1e-10, name_of(side) + " " + c.dump());
    }
}

TEST(rank_tests, mann_whitney_by_hand) {
  // Two against two: U is 0 1 2 2 3 4, each one of six.
  const std::vector<double> a{3, 4}, b{1, 2};
  EXPECT_EQ(mann_whitney(a, b, Alternative::greater).statistic, 4);
  EXPECT_NEAR(mann_whitney(a, b, Alternative::greater).p_value, 1.0 / 6, 1e-15);
  EXPECT_NEAR(mann_whitney(a, b, Alternative::less).p_value, 1, 1e-15);
  EXPECT_EQ(rank_biserial(4, 2, 2), 1);
  EXPECT_EQ(mann_whitney(std::vector<double>(9, 1.0), std::vector<double>(9, 1.0), Alternative::two_sided).p_value, 1);
}

TEST(rank_tests, kruskal_wallis_is_scipys) {
  for (const Json& c : statistics_golden().at("kruskal")) {
    std::vector<std::vector<double>> samples;
    for (const Json& s : c["samples"]) samples.push_back(doubles(s));
    const TestResult got = kruskal_wallis(samples);
    expect_relative(got.statistic, c["result"][0], 1e-12, c.dump());
    expect_relative(got.p_value, c["result"][1], 1e-12, c.dump());
  }
  EXPECT_EQ(kruskal_wallis({{1, 1}, {1}}).p_value, 1);
}

TEST(rank_tests, holm_by_hand) {
  EXPECT_EQ(holm({0.01, 0.04, 0.03, 0.5}), (std::vector<double>{0.04, 0.09, 0.09, 0.5}));
  EXPECT_EQ(holm({0.6, 0.6}), (std::vector<double>{1, 1}));
  EXPECT_TRUE(holm({}).empty());
}

}  // namespace metvox
