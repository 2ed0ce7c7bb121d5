// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/surface.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "segmentation/evaluation/distance.h"
#include "segmentation/evaluation/mask.h"

namespace metvox {

namespace {

using Normals = std::vector<std::array<double, 3>>;

// Surface normals (absolute components) of the 14 cells that all others are turns, mirror images or complements of.
const std::vector<std::pair<int, Normals>>& representatives() {
  constexpr double e = 0.125, q = 0.25, h = 0.5;
  static const std::vector<std::pair<int, Normals>> table = {
      {0, {}},
      {1, {{e, e, e}}},
      {3, {{q, q, 0}, {q, q, 0}}},
      {6, {{e, e, e}, {e, e, e}}},
      {7, {{h, 0, 0}, {q, q, q}, {e, e, e}}},
      {15, {{h, 0, 0}, {h, 0, 0}}},
      {22, {{e, e, e}, {e, e, e}, {e, e, e}}},
      {23, {{e, e, e}, {e, e, e}, {q, q, q}, {q, q, q}}},
      {24, {{e, e, e}, {e, e, e}}},
      {25, {{0, q, q}, {0, q, q}, {e, e, e}}},
      {27, {{e, e, e}, {3 * e, 3 * e, 3 * e}, {0, q, q}, {q, 0, q}}},
      {30, {{h, 0, 0}, {e, e, e}, {e, e, e}, {q, q, q}}},
      {60, {{q, q, 0}, {q, q, 0}, {q, q, 0}, {q, q, 0}}},
      {105, {{e, e, e}, {e, e, e}, {e, e, e}, {e, e, e}}},
  };
  return table;
}

// Cell position p = (i, j, k) of the turned cell holds what the original holds at q, where q[axis[a]] = p[a] ^ flip[a].
int turn(int code, const std::array<int, 3>& axis, int flips) {
  int turned = 0;
  for (int position = 0; position < 8; ++position) {
    const std::array<int, 3> p{position >> 2 & 1, position >> 1 & 1, position & 1};
    std::array<int, 3> q{};
    for (int a = 0; a < 3; ++a) q[axis[a]] = p[a] ^ (flips >> a & 1);
    if (code & (128 >> (4 * q[0] + 2 * q[1] + q[2]))) turned |= 128 >> position;
  }
  return turned;
}

double area_of(const Normals& normals, const std::array<int, 3>& axis, const Double3& s) {
  double area = 0;
  for (const auto& n : normals) {
    const double z = n[axis[0]] * s[1] * s[2], y = n[axis[1]] * s[0] * s[2], x = n[axis[2]] * s[0] * s[1];
    area += std::sqrt(z * z + y * y + x * x);
  }
  return area;
}

// Codes of all corners of the box's voxels, u8, one more along each axis than there are voxels.
Tensor corner_codes(const Tensor& mask, const CropBox& box) {
  const Shape& shape = mask.shape();
  const Int3 n = extent(box);
  Tensor codes = Tensor::zeros({n[0] + 1, n[1] + 1, n[2] + 1}, DType::u8);
  uint8_t* out = codes.data<uint8_t>();
  for (int64_t z = 0; z < n[0]; ++z)
    for (int64_t y = 0; y < n[1]; ++y) {
      const uint8_t* line =
          mask.data<uint8_t>() + ((z + box.first[0]) * shape[1] + y + box.first[1]) * shape[2] + box.first[2];
      for_each_nonzero(line, n[2], [&](int64_t x) {
        // The voxel lies at position (1 - a, 1 - b, 1 - c) of the cell around its corner (z + a, y + b, x + c).
        for (int corner = 0; corner < 8; ++corner) {
          const int64_t a = corner >> 2 & 1, b = corner >> 1 & 1, c = corner & 1;
          out[((z + a) * (n[1] + 1) + y + b) * (n[2] + 1) + x + c] |= static_cast<uint8_t>(128 >> (7 - corner));
        }
      });
    }
  return codes;
}

struct Surface {
  std::vector<Int3> points;  // corners, in voxels of the box
  std::vector<double> areas_mm2;
};

Surface surface_of(const Tensor& mask, const CropBox& box, const std::array<double, 256>& areas_mm2) {
  const Tensor codes = corner_codes(mask, box);
  const int64_t ny = codes.shape()[1], nx = codes.shape()[2];
  Surface surface;
  for_each_nonzero(codes.data<uint8_t>(), codes.size(), [&](int64_t i) {
    const uint8_t code = codes.data<uint8_t>()[i];
    if (code == 255) return;  // inside
    surface.points.push_back({i / (ny * nx), i / nx % ny, i % nx});
    surface.areas_mm2.push_back(areas_mm2[code]);
  });
  return surface;
}

std::vector<SurfaceElement> distances(const Surface& from, const Surface& to, const Double3& spacing_mm) {
  NearestPoint nearest(to.points, spacing_mm);
  std::vector<SurfaceElement> found;
  found.reserve(from.points.size());
  for (size_t i = 0; i < from.points.size(); ++i)
    found.push_back({std::sqrt(nearest.squared_mm2(from.points[i])), from.areas_mm2[i]});
  std::sort(found.begin(), found.end(), [](const SurfaceElement& a, const SurfaceElement& b) {
    return a.distance_mm != b.distance_mm ? a.distance_mm < b.distance_mm : a.area_mm2 < b.area_mm2;
  });
  return found;
}

double total_area(const std::vector<SurfaceElement>& sorted) {
  double sum = 0;
  for (const auto& s : sorted) sum += s.area_mm2;
  return sum;
}

double directed(const std::vector<SurfaceElement>& sorted, double share) {
  if (sorted.empty()) return std::numeric_limits<double>::infinity();
  const double total = total_area(sorted);
  double sum = 0;
  for (const auto& s : sorted) {
    sum += s.area_mm2;
    if (sum / total >= share) return s.distance_mm;
  }
  return sorted.back().distance_mm;
}

double area_within(const std::vector<SurfaceElement>& sorted, double tolerance_mm) {
  double sum = 0;
  for (const auto& s : sorted)
    if (s.distance_mm <= tolerance_mm) sum += s.area_mm2;
  return sum;
}

}  // namespace

std::array<double, 256> surface_areas(const Double3& spacing_mm) {
  std::array<double, 256> areas{};
  for (const auto& [code, normals] : representatives()) {
    std::array<int, 3> axis{0, 1, 2};
    do {
      const double area = area_of(normals, axis, spacing_mm);
      for (int flips = 0; flips < 8; ++flips) {
        const int turned = turn(code, axis, flips);
        areas[turned] = areas[255 - turned] = area;
      }
    } while (std::next_permutation(axis.begin(), axis.end()));
  }
  return areas;
}

double SurfaceDistances::hausdorff_mm(double share) const {
  return std::max(directed(from_prediction, share), directed(from_truth, share));
}

double SurfaceDistances::dice(double tolerance_mm) const {
  return (area_within(from_prediction, tolerance_mm) + area_within(from_truth, tolerance_mm)) /
         (total_area(from_prediction) + total_area(from_truth));
}

SurfaceDistances surface_distances(const Tensor& prediction, const Tensor& truth, const Double3& spacing_mm) {
  check(prediction.shape() == truth.shape() && truth.shape().rank() == 3, "surface_distances: masks of ",
        prediction.shape(), " and ", truth.shape(), " voxels");
  const CropBox box = joined(bounding_box(prediction), bounding_box(truth));
  if (is_empty(box)) return {};
  const std::array<double, 256> areas_mm2 = surface_areas(spacing_mm);
  const Surface p = surface_of(prediction, box, areas_mm2), t = surface_of(truth, box, areas_mm2);
  return {distances(p, t, spacing_mm), distances(t, p, spacing_mm)};
}

}  // namespace metvox
