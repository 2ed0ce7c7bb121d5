// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/assignment.h"

#include <limits>

#include "tensor/error.h"

namespace metvox {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Prices keep every reduced cost (cost - row price - column price) at or above 0, and that of every pair at 0.
class Assignment {
 public:
  explicit Assignment(const std::vector<std::vector<double>>& cost)
      : cost_(cost),
        rows_(static_cast<int>(cost.size())),
        columns_(static_cast<int>(cost[0].size())),
        row_price_(cost.size()),
        column_price_(cost[0].size()),
        row_of_(cost[0].size(), -1) {
    check(rows_ <= columns_, "cheapest_assignment: ", rows_, " rows, ", columns_, " columns");
  }

  std::vector<int> solve() {
    for (int row = 0; row < rows_; ++row) augment(row);
    std::vector<int> column_of(cost_.size(), -1);
    for (int c = 0; c < columns_; ++c)
      if (row_of_[c] >= 0) column_of[row_of_[c]] = c;
    return column_of;
  }

 private:
  // Grows a tree of cheapest paths from the row until it meets a column without a row; then turns that path over.
  void augment(int start) {
    std::vector<double> reach(row_of_.size(), kInfinity);
    std::vector<int> before(row_of_.size(), -1);
    std::vector<bool> done(row_of_.size(), false);
    int row = start, column = -1;
    for (double so_far = 0;;) {
      int next = -1;
      for (int c = 0; c < columns_; ++c) {
        if (done[c]) continue;
        const double through = so_far + cost_[row][c] - row_price_[row] - column_price_[c];
        if (through < reach[c]) {
          reach[c] = through;
          before[c] = column;
        }
        if (next < 0 || reach[c] < reach[next]) next = c;
      }
      column = next;
      so_far = reach[column];
      done[column] = true;
      if (row_of_[column] < 0) break;
      row = row_of_[column];
    }
    const double total = reach[column];
    row_price_[start] += total;
    for (int c = 0; c < columns_; ++c) {
      if (!done[c] || c == column) continue;
      row_price_[row_of_[c]] += total - reach[c];
      column_price_[c] -= total - reach[c];
    }
    for (int c = column; c >= 0; c = before[c]) row_of_[c] = before[c] < 0 ? start : row_of_[before[c]];
  }

  const std::vector<std::vector<double>>& cost_;
  const int rows_, columns_;
  std::vector<double> row_price_, column_price_;
  std::vector<int> row_of_;
};

}  // namespace

std::vector<int> cheapest_assignment(const std::vector<std::vector<double>>& cost) {
  if (cost.empty()) return {};
  return Assignment(cost).solve();
}

}  // namespace metvox
