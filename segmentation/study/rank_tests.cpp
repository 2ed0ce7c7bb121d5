// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/rank_tests.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "segmentation/study/distributions.h"
#include "tensor/error.h"

namespace metvox {

namespace {

template <class T>
std::vector<size_t> ascending(std::span<const T> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t i, size_t j) { return values[i] < values[j]; });
  return order;
}

// P(sum <= limit) when each weight counts with probability 1/2.
double sign_flip_below(const std::vector<int64_t>& weights, int64_t limit) {
  if (limit < 0) return 0;
  std::vector<double> share(static_cast<size_t>(limit) + 1);
  share[0] = 1;
  int64_t reached = 0;
  for (const int64_t w : weights) {
    reached = std::min(limit, reached + w);
    for (int64_t s = reached; s >= 0; --s) share[s] = 0.5 * (share[s] + (s >= w ? share[s - w] : 0.0));
  }
  return std::accumulate(share.begin(), share.end(), 0.0);
}

// P(U <= limit) without ties. Walks up the joint ranking: the next value is one of the n with the share of them among
// those left, and then lies above all of the m that came before it.
double mann_whitney_below(int64_t n, int64_t m, int64_t limit) {
  const auto width = static_cast<size_t>(limit) + 1;
  std::vector<std::vector<double>> share(n + 1, std::vector<double>(width));  // [taken of the n][U so far]
  share[0][0] = 1;
  for (int64_t done = 0; done < n + m; ++done) {
    const auto left = static_cast<double>(n + m - done);
    for (int64_t taken = std::min(done, n); taken >= 0; --taken) {
      const int64_t below = done - taken;
      if (below > m) break;
      const double first = static_cast<double>(n - taken) / left;
      for (size_t u = 0; u < width; ++u) {
        const double here = share[taken][u];
        if (taken < n && u + below < width) share[taken + 1][u + below] += here * first;
        share[taken][u] = here * (1 - first);
      }
    }
  }
  return std::accumulate(share[n].begin(), share[n].end(), 0.0);
}

double normal_p(double z, Alternative alternative) {
  if (alternative == Alternative::less) return normal_below(z);
  return alternative == Alternative::greater ? normal_above(z) : std::min(1.0, 2 * normal_above(std::abs(z)));
}

double reported(const SignedRanks& ranks, Alternative alternative) {
  return alternative == Alternative::two_sided ? std::min(ranks.positive, ranks.negative) : ranks.positive;
}

}  // namespace

std::string name_of(Alternative alternative) {
  if (alternative == Alternative::two_sided) return "two-sided";
  return alternative == Alternative::less ? "less" : "greater";
}

Ranks rank(std::span<const double> values) {
  const auto order = ascending(values);
  Ranks out;
  out.ranks.resize(values.size());
  for (size_t first = 0, last = 0; first < order.size(); first = last) {
    while (last < order.size() && values[order[last]] == values[order[first]]) ++last;
    check(last > first, "rank: a value is NaN");
    const double shared = 0.5 * static_cast<double>(first + 1 + last), t = static_cast<double>(last - first);
    for (size_t i = first; i < last; ++i) out.ranks[order[i]] = shared;
    out.tie_sum += t * t * t - t;
  }
  return out;
}

std::vector<double> paired_differences(std::span<const double> a, std::span<const double> b) {
  check(a.size() == b.size(), "paired_differences: ", a.size(), " values and ", b.size());
  std::vector<double> out(a.size());
  for (size_t i = 0; i < a.size(); ++i) out[i] = a[i] == b[i] ? 0.0 : a[i] - b[i];
  return out;
}

SignedRanks rank_signed(std::span<const double> differences) {
  std::vector<double> sizes;
  std::vector<bool> up;
  for (const double d : differences)
    if (d != 0) {
      sizes.push_back(std::abs(d));
      up.push_back(d > 0);
    }
  const Ranks ranks = rank(sizes);
  SignedRanks out;
  out.tie_sum = ranks.tie_sum;
  for (size_t i = 0; i < sizes.size(); ++i) {
    out.doubled.push_back(std::llround(2 * ranks.ranks[i]));
    (up[i] ? out.positive : out.negative) += ranks.ranks[i];
  }
  return out;
}

TestResult wilcoxon(std::span<const double> differences, Alternative alternative) {
  const SignedRanks ranks = rank_signed(differences);
  return ranks.doubled.size() <= kMostExactPairs ? wilcoxon_exact(ranks, alternative)
                                                 : wilcoxon_approximate(ranks, alternative);
}

// The distribution is symmetric: P(sum >= positive) is P(sum <= negative).
TestResult wilcoxon_exact(const SignedRanks& ranks, Alternative alternative) {
  const double statistic = reported(ranks, alternative);
  const auto below = [&](double sum) { return sign_flip_below(ranks.doubled, std::llround(2 * sum)); };
  if (alternative == Alternative::less) return {statistic, below(ranks.positive)};
  if (alternative == Alternative::greater) return {statistic, below(ranks.negative)};
  return {statistic, std::min(1.0, 2 * below(statistic))};
}

TestResult wilcoxon_approximate(const SignedRanks& ranks, Alternative alternative) {
  const auto n = static_cast<double>(ranks.doubled.size());
  if (n == 0) return {0, 1};
  const double variance = (n * (n + 1) * (2 * n + 1) - ranks.tie_sum / 2) / 24;
  const double z = (ranks.positive - n * (n + 1) / 4) / std::sqrt(variance);
  return {reported(ranks, alternative), normal_p(z, alternative)};
}

TestResult mann_whitney(std::span<const double> a, std::span<const double> b, Alternative alternative) {
  check(!a.empty() && !b.empty(), "mann_whitney: a sample is empty");
  std::vector<double> all(a.begin(), a.end());
  all.insert(all.end(), b.begin(), b.end());
  const Ranks ranks = rank(all);
  const auto n = static_cast<double>(a.size()), m = static_cast<double>(b.size()), both = n + m;
  const double u = std::accumulate(ranks.ranks.begin(), ranks.ranks.begin() + a.size(), 0.0) - n * (n + 1) / 2;
  const double other = n * m - u;
  const bool two_sided = alternative == Alternative::two_sided;
  const double high = two_sided ? std::max(u, other) : alternative == Alternative::greater ? u : other;
  double p;
  if (std::min(a.size(), b.size()) <= 8 && ranks.tie_sum == 0) {
    // P(U >= high) is P(U <= n m - high).
    p = mann_whitney_below(std::ssize(a), std::ssize(b), std::llround(n * m - high));
  } else {
    const double deviation = std::sqrt(n * m / 12 * (both + 1 - ranks.tie_sum / (both * (both - 1))));
    p = normal_above((high - n * m / 2 - 0.5) / deviation);
  }
  return {u, std::min(1.0, two_sided ? 2 * p : p)};
}

TestResult kruskal_wallis(const std::vector<std::vector<double>>& samples) {
  std::vector<double> all;
  for (const auto& sample : samples) all.insert(all.end(), sample.begin(), sample.end());
  const Ranks ranks = rank(all);
  const auto n = static_cast<double>(all.size());
  double squares = 0;
  for (size_t s = 0, first = 0; s < samples.size(); first += samples[s++].size()) {
    check(!samples[s].empty(), "kruskal_wallis: a sample is empty");
    const auto begin = ranks.ranks.begin() + first;
    const double sum = std::accumulate(begin, begin + samples[s].size(), 0.0);
    squares += sum * sum / static_cast<double>(samples[s].size());
  }
  const double tied = 1 - ranks.tie_sum / (n * n * n - n);
  if (!(tied > 0)) return {0, 1};
  const double h = (12 / (n * (n + 1)) * squares - 3 * (n + 1)) / tied;
  return {h, chi_squared_above(std::max(0.0, h), static_cast<double>(samples.size()) - 1)};
}

double rank_biserial(double u, size_t n, size_t m) {
  return 2 * u / (static_cast<double>(n) * static_cast<double>(m)) - 1;
}

double matched_rank_biserial(const SignedRanks& ranks) {
  const double all = ranks.positive + ranks.negative;
  return all > 0 ? (ranks.positive - ranks.negative) / all : 0;
}

std::vector<double> holm(const std::vector<double>& p_values) {
  std::vector<double> out(p_values.size());
  double highest = 0;
  size_t left = p_values.size();
  for (const size_t i : ascending(std::span(p_values))) {
    highest = std::max(highest, static_cast<double>(left--) * p_values[i]);
    out[i] = std::min(1.0, highest);
  }
  return out;
}

}  // namespace metvox
