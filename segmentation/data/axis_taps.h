// SPDX-License-Identifier: Apache-2.0
// Where the voxels of a resampled axis come from: output voxel o sits at (o + 0.5) * n_in / n_out - 0.5 of the input.
#pragma once
#include <cstdint>
#include <vector>

namespace metvox {

// Linear: two voxels and their weights. Nearest is the same with all the weight on the first.
struct AxisTaps {
  std::vector<int64_t> first, second;
  std::vector<double> first_weight, second_weight;
};
AxisTaps linear_taps(int64_t n_in, int64_t n_out);
AxisTaps nearest_taps(int64_t n_in, int64_t n_out);

// The same for loops and kernels, or cubic: `count` rows and weights of each output voxel. A cubic B-spline's rows are
// of its coefficients, of which row 0 is the one at -2.
struct LineTaps {
  int64_t n_in = 0, n_out = 0;
  int count = 0;
  std::vector<int64_t> rows = {};
  std::vector<float> weights = {};
  bool changes() const { return n_in != n_out; }
};
LineTaps line_taps(int64_t n_in, int64_t n_out, int order);  // 0, 1 or 3

}  // namespace metvox
