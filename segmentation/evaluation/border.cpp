// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/border.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "segmentation/evaluation/distance.h"
#include "segmentation/evaluation/mask.h"
#include "segmentation/evaluation/moments.h"

namespace metvox {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> distances(const std::vector<Int3>& from, const std::vector<Int3>& to, const Double3& spacing_mm) {
  NearestPoint nearest(to, spacing_mm);
  std::vector<double> mm;
  mm.reserve(from.size());
  for (const Int3& p : from) mm.push_back(std::sqrt(nearest.squared_mm2(p)));
  std::sort(mm.begin(), mm.end());
  return mm;
}

double share_within(const std::vector<double>& sorted_mm, double tolerance_mm) {
  const auto within = std::upper_bound(sorted_mm.begin(), sorted_mm.end(), tolerance_mm) - sorted_mm.begin();
  return static_cast<double>(within) / static_cast<double>(sorted_mm.size());
}

}  // namespace

double BorderDistances::dice(double tolerance_mm) const {
  if (from_prediction_mm.empty() || from_truth_mm.empty())
    return from_prediction_mm.empty() && from_truth_mm.empty() ? kNaN : 0;
  return (share_within(from_prediction_mm, tolerance_mm) + share_within(from_truth_mm, tolerance_mm)) / 2;
}

double BorderDistances::hd95_mm() const {
  if (from_prediction_mm.empty() || from_truth_mm.empty()) return kInfinity;
  std::vector<double> all = from_prediction_mm;
  all.insert(all.end(), from_truth_mm.begin(), from_truth_mm.end());
  return quantile(all, .95);
}

std::vector<Int3> border_voxels(const Tensor& mask) {
  const Int3 n{mask.shape()[0], mask.shape()[1], mask.shape()[2]};
  const uint8_t* in = mask.data<uint8_t>();
  const Int3 step{n[1] * n[2], n[2], 1};
  std::vector<Int3> found;
  for_each_nonzero(in, mask.size(), [&](int64_t i) {
    const Int3 p{i / step[0], i / step[1] % n[1], i % n[2]};
    for (size_t a = 0; a < 3; ++a) {
      if (p[a] > 0 && p[a] + 1 < n[a] && in[i - step[a]] && in[i + step[a]]) continue;
      found.push_back(p);
      return;
    }
  });
  return found;
}

BorderDistances border_distances(const Tensor& prediction, const Tensor& truth, const Double3& spacing_mm) {
  check(prediction.shape() == truth.shape() && truth.shape().rank() == 3, "border_distances: masks of ",
        prediction.shape(), " and ", truth.shape(), " voxels");
  const std::vector<Int3> p = border_voxels(prediction), t = border_voxels(truth);
  return {distances(p, t, spacing_mm), distances(t, p, spacing_mm)};
}

}  // namespace metvox
