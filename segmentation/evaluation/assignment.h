// SPDX-License-Identifier: Apache-2.0
// One-to-one pairing of the least total cost.
#pragma once
#include <cstddef>
#include <map>
#include <vector>

namespace metvox {

// What it costs to pair a row with a column.
struct PairingCosts {
  size_t columns = 0;                            // at least as many as rows
  double other = 0;                              // of every pair that `rows` does not name
  std::vector<std::map<size_t, double>> rows{};  // by column
};

// The column of each row. O(rows^2 columns). Of several pairings of one cost it is the one that SciPy's
// linear_sum_assignment finds, which published scores follow: it looks through the columns from the last to the first,
// moves the last one into the place of one it is done with, and where two are as near takes one without a row.
// Source: Kuhn, The Hungarian Method for the Assignment Problem, 1955, by shortest augmenting paths.
std::vector<int> cheapest_assignment(const PairingCosts& costs);

}  // namespace metvox
