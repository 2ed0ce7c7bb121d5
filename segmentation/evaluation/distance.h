// SPDX-License-Identifier: Apache-2.0
// Exact distances on a voxel grid: how far the nearest point of a set is. A k-d tree, since surfaces are few points in
// a large volume (Bentley, Multidimensional binary search trees, 1975).
#pragma once
#include <vector>

#include "tensor/shape.h"

namespace metvox {

class NearestPoint {
 public:
  // Points (z, y, x) in voxels.
  NearestPoint(const std::vector<Int3>& points, const Double3& spacing_mm);

  // Squared distance in mm^2 to the nearest point, infinite where there is none; exact up to the rounding of a sum of
  // three squares. A search begins at the last one's nearest point: ask for neighbours one after the other.
  double squared_mm2(const Int3& point);

 private:
  using Voxel = std::array<int32_t, 3>;
  void build(int64_t first, int64_t last);
  void search(int64_t first, int64_t last, const Voxel& point);
  void consider(int64_t i, const Voxel& point);

  std::vector<Voxel> points_;  // the middle one of a range divides it
  std::vector<uint8_t> axis_;  // along which it does
  Double3 spacing_mm_;
  int64_t nearest_ = 0;
  double best_mm2_ = 0;
};

}  // namespace metvox
