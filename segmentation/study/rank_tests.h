// SPDX-License-Identifier: Apache-2.0
// Tests on ranks. Values may be infinite (equal infinities are ties), never NaN. Statistics and p values are those of
// scipy.stats, except that wilcoxon() is exact with ties and zero differences as well.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace metvox {

enum class Alternative { two_sided, less, greater };
std::string name_of(Alternative alternative);  // two-sided, less, greater

struct TestResult {
  double statistic = 0, p_value = 1;
};

struct Ranks {
  std::vector<double> ranks;  // 1 for the smallest; tied values share the mean of their ranks
  double tie_sum = 0;         // sum of t^3 - t over groups of t tied values
};
Ranks rank(std::span<const double> values);

// a[i] - b[i]; zero where both are the same infinity.
std::vector<double> paired_differences(std::span<const double> a, std::span<const double> b);

// Differences ranked by size, zeros left out (Wilcoxon's own way).
struct SignedRanks {
  std::vector<int64_t> doubled;       // twice each rank: whole numbers with ties too
  double positive = 0, negative = 0;  // sums of ranks
  double tie_sum = 0;
};
SignedRanks rank_signed(std::span<const double> differences);

// Above so many non-zero differences wilcoxon() takes the normal approximation.
inline constexpr size_t kMostExactPairs = 200;
// Wilcoxon's signed-rank test of a sample of differences. The statistic is the sum of the ranks of positive ones,
// two-sided the smaller of both sums. Exact: the share of all 2^n ways to choose signs that reach the sum, given the
// ranks as they are. Approximate: normal, corrected for ties, not for continuity.
TestResult wilcoxon(std::span<const double> differences, Alternative alternative);
TestResult wilcoxon_exact(const SignedRanks& ranks, Alternative alternative);
TestResult wilcoxon_approximate(const SignedRanks& ranks, Alternative alternative);

// U of the first sample. Exact where a sample has at most 8 values and there are no ties, else normal, corrected for
// ties and by 0.5 for continuity.
TestResult mann_whitney(std::span<const double> a, std::span<const double> b, Alternative alternative);

// H corrected for ties, against chi squared. All values equal: H 0, p 1.
TestResult kruskal_wallis(const std::vector<std::vector<double>>& samples);

// Effect sizes in [-1, 1], positive where the first sample (or the differences) lie higher. Rank-biserial correlation
// of two samples is 2 U / (n m) - 1 (Cliff's delta); of matched pairs it is (R+ - R-) / (R+ + R-), 0 without ranks.
double rank_biserial(double u, size_t n, size_t m);
double matched_rank_biserial(const SignedRanks& ranks);

// Holm's step-down adjustment of p values, in their order.
std::vector<double> holm(const std::vector<double>& p_values);

}  // namespace metvox
