// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/surface.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "segmentation/evaluation/distance.h"

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

struct Box {
  Int3 first{}, last{};  // half open
  Int3 extent() const { return {last[0] - first[0], last[1] - first[1], last[2] - first[2]}; }
};

Box joint_box(const uint8_t* a, const uint8_t* b, const Shape& shape) {
  Box box{{shape[0], shape[1], shape[2]}, {0, 0, 0}};
  int64_t i = 0;
  for (int64_t z = 0; z < shape[0]; ++z)
    for (int64_t y = 0; y < shape[1]; ++y)
      for (int64_t x = 0; x < shape[2]; ++x, ++i) {
        if (!a[i] && !b[i]) continue;
        const Int3 p{z, y, x};
        for (int d = 0; d < 3; ++d) {
          box.first[d] = std::min(box.first[d], p[d]);
          box.last[d] = std::max(box.last[d], p[d] + 1);
        }
      }
  return box;
}

// Codes of all corners of the box's voxels, u8, one more along each axis than there are voxels.
Tensor corner_codes(const uint8_t* mask, const Shape& shape, const Box& box) {
  const Int3 n = box.extent();
  Tensor codes = Tensor::zeros({n[0] + 1, n[1] + 1, n[2] + 1}, DType::u8);
  uint8_t* out = codes.data<uint8_t>();
  for (int64_t z = 0; z < n[0]; ++z)
    for (int64_t y = 0; y < n[1]; ++y) {
      const uint8_t* line = mask + ((z + box.first[0]) * shape[1] + y + box.first[1]) * shape[2] + box.first[2];
      for (int64_t x = 0; x < n[2]; ++x) {
        if (!line[x]) continue;
        // The voxel lies at position (1 - a, 1 - b, 1 - c) of the cell around its corner (z + a, y + b, x + c).
        for (int corner = 0; corner < 8; ++corner) {
          const int64_t a = corner >> 2 & 1, b = corner >> 1 & 1, c = corner & 1;
          out[((z + a) * (n[1] + 1) + y + b) * (n[2] + 1) + x + c] |= static_cast<uint8_t>(128 >> (7 - corner));
        }
      }
    }
  return codes;
}

bool on_surface(uint8_t code) { return code != 0 && code != 255; }

// Elements of the surface of `codes`, with their distances to the surface of `other`.
std::vector<SurfaceElement> elements(const Tensor& codes, const Tensor& other, const Double3& spacing_mm) {
  const std::array<double, 256> areas = surface_areas(spacing_mm);
  Tensor marked = Tensor::empty(other.shape(), DType::u8);
  std::transform(other.data<uint8_t>(), other.data<uint8_t>() + other.size(), marked.data<uint8_t>(), on_surface);
  const Tensor squared = squared_distances(marked, spacing_mm);
  std::vector<SurfaceElement> found;
  for (int64_t i = 0; i < codes.size(); ++i)
    if (const uint8_t code = codes.data<uint8_t>()[i]; on_surface(code))
      found.push_back({std::sqrt(squared.data<double>()[i]), areas[code]});
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
  const uint8_t *p = prediction.data<uint8_t>(), *t = truth.data<uint8_t>();
  const Box box = joint_box(p, t, truth.shape());
  if (box.last[0] == 0) return {};
  const Tensor p_codes = corner_codes(p, truth.shape(), box), t_codes = corner_codes(t, truth.shape(), box);
  return {elements(p_codes, t_codes, spacing_mm), elements(t_codes, p_codes, spacing_mm)};
}

}  // namespace metvox
