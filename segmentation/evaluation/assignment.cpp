// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/assignment.h"

#include <limits>
#include <numeric>

#include "tensor/error.h"

namespace metvox {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Prices keep every reduced cost (cost - row price - column price) at or above 0, and that of every pair at 0.
class Assignment {
 public:
  explicit Assignment(const PairingCosts& costs)
      : costs_(costs), row_price_(costs.rows.size()), column_price_(costs.columns), row_of_(costs.columns, -1) {
    check(costs.rows.size() <= costs.columns, "cheapest_assignment: ", costs.rows.size(), " rows, ", costs.columns,
          " columns");
  }

  std::vector<int> solve() {
    for (size_t row = 0; row < costs_.rows.size(); ++row) augment(static_cast<int>(row));
    std::vector<int> column_of(costs_.rows.size(), -1);
    for (size_t c = 0; c < row_of_.size(); ++c)
      if (row_of_[c] >= 0) column_of[row_of_[c]] = static_cast<int>(c);
    return column_of;
  }

 private:
  std::vector<double> costs_of(int row) const {
    std::vector<double> costs(costs_.columns, costs_.other);
    for (const auto& [column, cost] : costs_.rows[row]) costs[column] = cost;
    return costs;
  }

  // Grows a tree of cheapest paths from the row until it meets a column without a row; then turns that path over.
  void augment(int start) {
    std::vector<double> reach(costs_.columns, kInfinity);
    std::vector<int> before(costs_.columns, -1), done, left(costs_.columns);
    std::iota(left.rbegin(), left.rend(), 0);
    int row = start, column = -1;
    for (double so_far = 0; row >= 0; row = row_of_[column]) {
      const std::vector<double> costs = costs_of(row);
      double least = kInfinity;
      size_t nearest = 0;
      for (size_t k = 0; k < left.size(); ++k) {
        const int c = left[k];
        const double through = so_far + costs[c] - row_price_[row] - column_price_[c];
        if (through < reach[c]) {
          reach[c] = through;
          before[c] = column;
        }
        if (reach[c] < least || (reach[c] == least && row_of_[c] < 0)) {
          least = reach[c];
          nearest = k;
        }
      }
      column = left[nearest];
      so_far = least;
      done.push_back(column);
      left[nearest] = left.back();
      left.pop_back();
    }
    done.pop_back();  // the one that had no row
    const double total = reach[column];
    row_price_[start] += total;
    for (const int c : done) {
      row_price_[row_of_[c]] += total - reach[c];
      column_price_[c] -= total - reach[c];
    }
    for (int c = column; c >= 0; c = before[c]) row_of_[c] = before[c] < 0 ? start : row_of_[before[c]];
  }

  const PairingCosts& costs_;
  std::vector<double> row_price_, column_price_;
  std::vector<int> row_of_;
};

}  // namespace

std::vector<int> cheapest_assignment(const PairingCosts& costs) { return Assignment(costs).solve(); }

}  // namespace metvox
