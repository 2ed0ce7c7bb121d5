// SPDX-License-Identifier: Apache-2.0
// Where the phantom's voxels lie. The head lives in millimetres (x to the right, y to the front, z up, 0 in the middle
// of the field of view); everything is evaluated there, so that a coarser grid shows the same head.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>

#include "io/volume.h"
#include "tensor/random.h"

namespace metvox::phantom {

inline constexpr std::array<double, 3> kFieldOfView_mm{152, 184, 150};

struct Point {
  double x = 0, y = 0, z = 0;
};
inline Point operator+(Point a, Point b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline Point operator-(Point a, Point b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline Point operator*(double s, Point a) { return {s * a.x, s * a.y, s * a.z}; }
inline double dot(Point a, Point b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline double norm(Point a) { return std::sqrt(dot(a, a)); }

struct Box {
  Point low, high;
};

// Axes in file order (x, y, z); direction is +1 where an axis points right, front, up, else -1.
struct Grid {
  std::array<int64_t, 3> size{};
  std::array<double, 3> spacing_mm{};
  std::array<double, 3> direction{1, 1, 1};

  int64_t count() const { return size[0] * size[1] * size[2]; }
  int64_t index(int64_t i, int64_t j, int64_t k) const { return (k * size[1] + j) * size[0] + i; }
  double position(int axis, int64_t i) const {
    return direction[axis] * spacing_mm[axis] * (static_cast<double>(i) - 0.5 * static_cast<double>(size[axis] - 1));
  }
  Point point(int64_t index) const {
    return {position(0, index % size[0]), position(1, index / size[0] % size[1]),
            position(2, index / (size[0] * size[1]))};
  }
  // The voxel at a point, -1 outside the field of view.
  int64_t nearest(Point p) const {
    const std::array<double, 3> at{p.x, p.y, p.z};
    std::array<int64_t, 3> v;
    for (int a = 0; a < 3; ++a) {
      v[a] = std::lround(direction[a] * at[a] / spacing_mm[a] + 0.5 * static_cast<double>(size[a] - 1));
      if (v[a] < 0 || v[a] >= size[a]) return -1;
    }
    return index(v[0], v[1], v[2]);
  }
  double voxel_mm3() const { return spacing_mm[0] * spacing_mm[1] * spacing_mm[2]; }
  Box box() const {
    Point half{0.5 * kFieldOfView_mm[0], 0.5 * kFieldOfView_mm[1], 0.5 * kFieldOfView_mm[2]};
    return {-1.0 * half, half};
  }
};

// The header of the grid, with qform and sform set; the world is the head's millimetres.
Geometry geometry_of(const Grid& grid);

// What random numbers are for. Each purpose has its own streams, so that changing one thing leaves the others as they
// were.
enum class Purpose : uint64_t { head, warp, sulci, folia, vessels, count, lesion, contrast, texture, bias, noise };

struct Streams {
  uint64_t seed = 0;
  int64_t case_index = 0;
  // Stream number k (below 2^24) of a purpose.
  Random operator()(Purpose purpose, int64_t k = 0) const {
    const auto of = static_cast<uint64_t>(purpose) << 24 | static_cast<uint64_t>(k);
    return Random(seed, static_cast<uint64_t>(case_index) << 32 | of);
  }
};

}  // namespace metvox::phantom
