// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/diameters.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "segmentation/evaluation/components.h"
#include "segmentation/evaluation/mask.h"

namespace metvox {

namespace {

struct Point {
  int64_t u, v;  // along the slice's two axes, in voxels
  auto operator<=>(const Point&) const = default;
};

// One slice of a mask, its axes (u, v).
struct Slice {
  const uint8_t* first;
  int64_t nu, nv, stride_u, stride_v;
  double mm_u, mm_v;
  bool inside(int64_t u, int64_t v) const {
    return u >= 0 && v >= 0 && u < nu && v < nv && first[u * stride_u + v * stride_v];
  }
  double length_mm(const Point& a, const Point& b) const {
    return std::hypot(mm_u * static_cast<double>(a.u - b.u), mm_v * static_cast<double>(a.v - b.v));
  }
};

// First and last voxel of every row: nothing else can lie on the hull. `far` 1: their outer corners.
std::vector<Point> outline(const Slice& s, int64_t far) {
  std::vector<Point> points;
  for (int64_t u = 0; u < s.nu; ++u) {
    int64_t low = 0, high = s.nv - 1;
    while (low < s.nv && !s.inside(u, low)) ++low;
    if (low == s.nv) continue;
    while (!s.inside(u, high)) --high;
    for (int64_t du = 0; du <= far; ++du) {
      points.push_back({u + du, low});
      points.push_back({u + du, high + far});
    }
  }
  return points;
}

// Andrew's monotone chain; corners only.
std::vector<Point> convex_hull(std::vector<Point> points) {
  std::sort(points.begin(), points.end());
  points.erase(std::unique(points.begin(), points.end()), points.end());
  if (points.size() < 3) return points;
  std::vector<Point> hull;
  const auto add_chain = [&](auto begin, auto end) {
    const size_t base = hull.size();
    for (auto p = begin; p != end; ++p) {
      while (hull.size() >= base + 2) {
        const Point &a = hull[hull.size() - 2], &b = hull.back();
        if ((b.u - a.u) * (p->v - a.v) - (b.v - a.v) * (p->u - a.u) > 0) break;
        hull.pop_back();
      }
      hull.push_back(*p);
    }
    hull.pop_back();  // begins the other chain
  };
  add_chain(points.begin(), points.end());
  add_chain(points.rbegin(), points.rend());
  return hull;
}

struct Longest {
  double mm = 0;
  std::vector<std::pair<Point, Point>> between;  // every pair as far apart
};

Longest longest_of(const Slice& s, int64_t far) {
  constexpr double kEqual_mm = 1e-9;
  const std::vector<Point> hull = convex_hull(outline(s, far));
  Longest longest;
  for (size_t i = 0; i < hull.size(); ++i)
    for (size_t j = i + 1; j < hull.size(); ++j) {
      const double mm = s.length_mm(hull[i], hull[j]);
      if (mm < longest.mm - kEqual_mm) continue;
      if (mm > longest.mm + kEqual_mm) longest = {mm, {}};
      longest.between.push_back({hull[i], hull[j]});
    }
  return longest;
}

// The longest run inside the slice along the line through (u, v) that moves by (du, dv), in voxels, for each mm.
double longest_run_mm(const Slice& s, double u, double v, double du, double dv) {
  std::vector<double> cuts;  // where the line leaves one voxel for the next
  const auto add_cuts = [&cuts](double at, double step, int64_t n) {
    if (std::abs(step) < 1e-12) return;
    for (int64_t k = 0; k <= n; ++k) cuts.push_back((static_cast<double>(k) - at) / step);
  };
  add_cuts(u, du, s.nu);
  add_cuts(v, dv, s.nv);
  std::sort(cuts.begin(), cuts.end());
  double best = 0, run = 0;
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    const double middle = (cuts[i] + cuts[i + 1]) / 2;
    const bool inside =
        s.inside(static_cast<int64_t>(std::floor(u + middle * du)), static_cast<int64_t>(std::floor(v + middle * dv)));
    run = inside ? run + cuts[i + 1] - cuts[i] : 0;
    best = std::max(best, run);
  }
  return best;
}

// Lines across `between` at quarters of a voxel.
double perpendicular_mm(const Slice& s, const std::pair<Point, Point>& between, double longest_mm) {
  const double along_u = s.mm_u * static_cast<double>(between.second.u - between.first.u) / longest_mm,
               along_v = s.mm_v * static_cast<double>(between.second.v - between.first.v) / longest_mm;
  const double step_mm = std::min(s.mm_u, s.mm_v) / 4;
  double best = 0;
  for (double at = step_mm / 2; at < longest_mm; at += step_mm)
    best = std::max(best, longest_run_mm(s, static_cast<double>(between.first.u) + at * along_u / s.mm_u,
                                         static_cast<double>(between.first.v) + at * along_v / s.mm_v,
                                         -along_v / s.mm_u, along_u / s.mm_v));
  return best;
}

}  // namespace

int axial_normal(const Geometry& grid) {
  int nearest = 0;
  double most = -1;
  for (int file_axis = 0; file_axis < 3; ++file_axis) {
    const double superior =
        std::abs(grid.affine.m[2][static_cast<size_t>(file_axis)]) / grid.spacing_mm[static_cast<size_t>(file_axis)];
    if (superior < most) continue;  // the last of equals: axial is the usual order of slices
    most = superior;
    nearest = 2 - file_axis;
  }
  return nearest;
}

Diameters axial_diameters(const Tensor& mask, int normal, const Double3& spacing_mm) {
  const std::array<int64_t, 3> strides{mask.shape()[1] * mask.shape()[2], mask.shape()[2], 1};
  const int a = normal == 0 ? 1 : 0, b = normal == 2 ? 1 : 2;
  Diameters d;
  Longest longest;
  Slice at_longest{};
  for (int64_t k = 0; k < mask.shape()[normal]; ++k) {
    const Slice s{mask.data<uint8_t>() + k * strides[static_cast<size_t>(normal)],
                  mask.shape()[a],
                  mask.shape()[b],
                  strides[static_cast<size_t>(a)],
                  strides[static_cast<size_t>(b)],
                  spacing_mm[static_cast<size_t>(a)],
                  spacing_mm[static_cast<size_t>(b)]};
    const Longest here = longest_of(s, 1);
    d.slices += here.mm > 0;
    d.longest_centres_mm = std::max(d.longest_centres_mm, longest_of(s, 0).mm);
    if (here.mm <= longest.mm) continue;
    longest = here;
    at_longest = s;
  }
  d.longest_mm = longest.mm;
  for (const auto& between : longest.between)
    d.perpendicular_mm = std::max(d.perpendicular_mm, perpendicular_mm(at_longest, between, longest.mm));
  return d;
}

TargetLesions target_lesions(const Tensor& core, const Tensor& enhancing, const Geometry& grid) {
  constexpr size_t kTargets = 5;
  const Components found = find_components(core);
  std::vector<bool> enhances(found.components.size());
  for_each_nonzero(enhancing.data<uint8_t>(), enhancing.size(), [&](int64_t i) {
    if (const int32_t k = found.index.data<int32_t>()[i]) enhances[static_cast<size_t>(k - 1)] = true;
  });
  const auto& mm = grid.spacing_mm;
  std::vector<double> longest_mm;
  for (size_t k = 0; k < found.components.size(); ++k) {
    if (!enhances[k]) continue;
    const Diameters d = axial_diameters(mask_of(found.index, static_cast<int32_t>(k + 1), found.components[k].box()),
                                        axial_normal(grid), {mm[2], mm[1], mm[0]});
    if (d.measurable()) longest_mm.push_back(d.longest_mm);
  }
  TargetLesions targets{static_cast<int64_t>(longest_mm.size()), 0};
  std::sort(longest_mm.rbegin(), longest_mm.rend());
  longest_mm.resize(std::min(longest_mm.size(), kTargets));
  targets.sum_mm = std::accumulate(longest_mm.begin(), longest_mm.end(), 0.0);
  return targets;
}

}  // namespace metvox
