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

}  // namespace metvox
