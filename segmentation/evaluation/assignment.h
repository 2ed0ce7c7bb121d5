// SPDX-License-Identifier: Apache-2.0
// One-to-one pairing of the least total cost.
#pragma once
#include <vector>

namespace metvox {

// cost[row][column], at least as many columns as rows: the column of each row. O(rows^2 columns).
// Source: Kuhn, The Hungarian Method for the Assignment Problem, 1955, by shortest augmenting paths.
std::vector<int> cheapest_assignment(const std::vector<std::vector<double>>& cost);

}  // namespace metvox
