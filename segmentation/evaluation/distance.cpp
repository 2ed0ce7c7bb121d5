// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/distance.h"

#include <algorithm>
#include <limits>

namespace metvox {

namespace {

constexpr int64_t kLeaf = 8;  // points that are looked at one by one

}  // namespace

NearestPoint::NearestPoint(const std::vector<Int3>& points, const Double3& spacing_mm)
    : axis_(points.size()), spacing_mm_(spacing_mm) {
  points_.reserve(points.size());
  for (const Int3& p : points)
    points_.push_back({static_cast<int32_t>(p[0]), static_cast<int32_t>(p[1]), static_cast<int32_t>(p[2])});
  build(0, static_cast<int64_t>(points_.size()));
}

void NearestPoint::build(int64_t first, int64_t last) {
  if (last - first <= kLeaf) return;
  const auto begin = points_.begin() + first, end = points_.begin() + last;
  Voxel low = *begin, high = *begin;
  for (auto p = begin; p != end; ++p)
    for (size_t a = 0; a < 3; ++a) {
      low[a] = std::min(low[a], (*p)[a]);
      high[a] = std::max(high[a], (*p)[a]);
    }
  const auto width_mm = [&](size_t a) { return spacing_mm_[a] * (high[a] - low[a]); };
  size_t widest = 0;
  for (size_t a = 1; a < 3; ++a)
    if (width_mm(a) > width_mm(widest)) widest = a;
  const int64_t middle = first + (last - first) / 2;
  std::nth_element(begin, points_.begin() + middle, end,
                   [widest](const Voxel& p, const Voxel& q) { return p[widest] < q[widest]; });
  axis_[static_cast<size_t>(middle)] = static_cast<uint8_t>(widest);
  build(first, middle);
  build(middle + 1, last);
}

void NearestPoint::consider(int64_t i, const Voxel& point) {
  const Voxel& p = points_[static_cast<size_t>(i)];
  double sum = 0;  // x, y, z: the order of SciPy in a file's axes, so that ties at a tolerance fall alike
  for (size_t a : {2, 1, 0}) {
    const double d = spacing_mm_[a] * (p[a] - point[a]);
    sum += d * d;
  }
  if (sum >= best_mm2_) return;
  best_mm2_ = sum;
  nearest_ = i;
}

void NearestPoint::search(int64_t first, int64_t last, const Voxel& point) {
  if (last - first <= kLeaf) {
    for (int64_t i = first; i < last; ++i) consider(i, point);
    return;
  }
  const int64_t middle = first + (last - first) / 2;
  const size_t axis = axis_[static_cast<size_t>(middle)];
  const double beyond = spacing_mm_[axis] * (point[axis] - points_[static_cast<size_t>(middle)][axis]);
  consider(middle, point);
  if (beyond < 0) search(first, middle, point);
  else search(middle + 1, last, point);
  if (beyond * beyond >= best_mm2_) return;
  if (beyond < 0) search(middle + 1, last, point);
  else search(first, middle, point);
}

double NearestPoint::squared_mm2(const Int3& point) {
  best_mm2_ = std::numeric_limits<double>::infinity();
  if (points_.empty()) return best_mm2_;
  const Voxel voxel{static_cast<int32_t>(point[0]), static_cast<int32_t>(point[1]), static_cast<int32_t>(point[2])};
  consider(nearest_, voxel);
  search(0, static_cast<int64_t>(points_.size()), voxel);
  return best_mm2_;
}

}  // namespace metvox
