// SPDX-License-Identifier: Apache-2.0
// Grade P: a head from formulas. Shapes are signed distances in mm (negative inside), so that cortex is "within 3 mm of
// a pial surface" wherever that surface runs: hull, sulci, the fissures. Proportions are those of an adult head, by
// eye.
#include "segmentation/phantom/anatomy.h"

#include <algorithm>

#include "segmentation/phantom/noise.h"
#include "tensor/threads.h"

namespace metvox::phantom {
namespace {

double ellipsoid_mm(Point p, Point centre, Point radius) {
  const Point q = p - centre;
  const Point u{q.x / radius.x, q.y / radius.y, q.z / radius.z};
  const double k = norm(u), slope = norm({u.x / radius.x, u.y / radius.y, u.z / radius.z});
  return slope < 1e-9 ? -std::min({radius.x, radius.y, radius.z}) : k * (k - 1) / slope;
}

// A rod from a to b whose radius goes from ra to rb.
double rod_mm(Point p, Point a, Point b, double ra, double rb) {
  const Point along = b - a;
  const double t = std::clamp(dot(p - a, along) / dot(along, along), 0.0, 1.0);
  return norm(p - a - t * along) - (ra + t * (rb - ra));
}

double smooth_min(double a, double b, double width_mm) {
  const double h = std::max(width_mm - std::abs(a - b), 0.0) / width_mm;
  return std::min(a, b) - 0.25 * h * h * width_mm;
}

constexpr Point kHullCentre{0, 0, 11}, kHullRadius{64, 81, 57};

class Head {
 public:
  Head(const Grid& grid, const Streams& streams)
      : warp_x_(streams(Purpose::warp, 0), grid.box(), 45),
        warp_y_(streams(Purpose::warp, 1), grid.box(), 45),
        warp_z_(streams(Purpose::warp, 2), grid.box(), 45),
        sulci_(streams(Purpose::sulci, 0), grid.box(), 5.0),
        depth_(streams(Purpose::sulci, 1), grid.box(), 22),
        folia_(streams(Purpose::folia), grid.box(), 20) {
    Random random = streams(Purpose::head);
    for (double* s : {&stretch_.x, &stretch_.y, &stretch_.z}) *s = 1 / random.uniform(0.95, 1.03);
    tilt_ = {random.uniform(-0.08, 0.08), random.uniform(-0.08, 0.08), random.uniform(-0.06, 0.06)};
    ventricle_mm_ = random.uniform(-0.6, 2.2);
    cortex_mm_ = random.uniform(2.8, 3.5);
    sulcus_mm_ = random.uniform(0.8, 1.5);
  }

  // Tissues of a row of voxels: x[i] at one (y, z).
  void row(const Grid& grid, int64_t row, Tissue* out) const {
    const double y = grid.position(1, row % grid.size[1]), z = grid.position(2, row / grid.size[1]);
    const SmoothNoise::Line wx(warp_x_, y, z), wy(warp_y_, y, z), wz(warp_z_, y, z);
    for (int64_t i = 0; i < grid.size[0]; ++i) {
      const double x = grid.position(0, i);
      const Point bent = turned({x, y, z}) + 2.4 * Point{wx.at(x), wy.at(x), wz.at(x)};
      out[i] = tissue({bent.x * stretch_.x, bent.y * stretch_.y, bent.z * stretch_.z});
    }
  }

 private:
  SmoothNoise warp_x_, warp_y_, warp_z_, sulci_, depth_, folia_;
  Point stretch_, tilt_;
  double ventricle_mm_, cortex_mm_, sulcus_mm_;

  // Small angles about the three axes.
  Point turned(Point p) const {
    return {p.x - tilt_.z * p.y + tilt_.y * p.z, p.y + tilt_.z * p.x - tilt_.x * p.z,
            p.z - tilt_.y * p.x + tilt_.x * p.y};
  }

  static double cerebrum_mm(Point p) {
    const double back = std::clamp((-p.y - 10) / 40, 0.0, 1.0);
    const double base = -17 + 9 * back;
    const double upper = -smooth_min(-ellipsoid_mm(p, kHullCentre, kHullRadius), p.z - base, 14);
    const double temporal = ellipsoid_mm({std::abs(p.x), p.y, p.z}, {37, 3, -14}, {23, 40, 18});
    return smooth_min(upper, temporal, 6);
  }
  static double cerebellum_mm(Point p) { return ellipsoid_mm({std::abs(p.x), p.y, p.z}, {16, -46, -34}, {35, 33, 26}); }
  static double stem_mm(Point p) {
    const double pons = ellipsoid_mm(p, {0, -14, -29}, {16, 13, 14});
    const double midbrain = rod_mm(p, {0, -18, -4}, {0, -20, -30}, 13, 11);
    const double medulla = rod_mm(p, {0, -20, -30}, {0, -29, -72}, 10, 7);
    return smooth_min(smooth_min(midbrain, medulla, 4), pons, 5);
  }

  // Lateral ventricles (mirrored), third, fourth.
  double ventricles_mm(Point p) const {
    const Point q{std::abs(p.x), p.y, p.z};
    const Point tip{10, 30, 6}, front{7.5, 14, 15}, body{10, -14, 18}, atrium{21, -36, 9};
    double d = rod_mm(q, tip, front, 3, 5);
    d = smooth_min(d, rod_mm(q, front, body, 5, 4.5), 2);
    d = smooth_min(d, rod_mm(q, body, atrium, 4.5, 6), 2);
    d = smooth_min(d, rod_mm(q, atrium, {21, -58, 5}, 4.5, 1), 2);
    d = smooth_min(d, rod_mm(q, atrium, {32, -16, -12}, 3.5, 1.2), 2);
    d = smooth_min(d, rod_mm(q, {32, -16, -12}, {30, 6, -19}, 1.2, 2), 1);
    d = std::max(d, 0.8 - q.x);  // the septum
    d -= ventricle_mm_;
    d = std::min(d, ellipsoid_mm(p, {0, -9, 1}, {1.8 + 0.4 * ventricle_mm_, 13, 8}));
    d = std::min(d, rod_mm(p, {0, -18, -4}, {0, -28, -24}, 0.9, 0.9));
    return std::min(d, ellipsoid_mm(p, {0, -29, -32}, {6, 4.5, 8}));
  }
  static bool in_choroid_plexus(Point p) {
    const Point q{std::abs(p.x), p.y, p.z};
    return rod_mm(q, {20.5, -37, 6}, {18, -29, 13}, 2.6, 2.2) < 0 ||
           rod_mm(q, {18, -29, 13}, {9, -8, 15}, 1.2, 0.9) < 0;
  }
  static bool in_deep_grey(Point p) {
    const Point q{std::abs(p.x), p.y, p.z};
    return std::min({ellipsoid_mm(q, {26, 3, 1}, {5.5, 17, 9}), ellipsoid_mm(q, {19, -1, -1}, {4, 9, 6}),
                     ellipsoid_mm(q, {10.5, -14, 4}, {8.5, 14, 9}), rod_mm(q, {13, 24, 5}, {15, -6, 20}, 6, 3)}) < 0;
  }

  // Distance to the fissure between the hemispheres, which the corpus callosum (an ellipse in the mid-plane) closes.
  static double fissure_mm(Point p) {
    const double y = (p.y + 4) / 44, z = (p.z - 4) / 29;
    return y * y + z * z < 1 ? 1e3 : std::abs(p.x) - 1.0;
  }
  // Distance to the side fissure: a sheet that rises to the back, from the temple to the insula.
  double sylvian_mm(Point p) const {
    const double off = p.z - (-1 + 0.3 * (10 - p.y)) - 2.5 * depth_.at(p);
    const double beyond = std::max({0.0, 36 - std::abs(p.x), p.y - 34, -26 - p.y});
    const double wall = std::abs(p.x) - 38 - 1.5 * depth_.at(p) + 0.008 * (p.y - 4) * (p.y - 4);
    const double insula = std::max(std::abs(wall) - 0.8, ellipsoid_mm({0, p.y, p.z}, {0, 4, 1}, {20, 20, 12}));
    return std::min(std::hypot(off, beyond) - 1.2, insula);
  }
  // Distance to the nearest sulcus: zero sheets of a noise stretched towards the centre, open down to a varying depth.
  double sulcus_mm(Point p, double depth) const {
    constexpr double kRadial = 0.6;  // 1: sulci run straight to the centre; 0: they do not know where it is
    const Point from = p - kHullCentre;
    const double k = std::max(0.3, norm({from.x / kHullRadius.x, from.y / kHullRadius.y, from.z / kHullRadius.z}));
    const double push = std::pow(k, -kRadial);
    const Point at = kHullCentre + push * from;
    Point slope;
    const double value = sulci_.sample(at, &slope);
    const Point out = (1 / std::max(1e-6, norm(from))) * from;
    const Point across = push * (slope - (kRadial * dot(slope, out)) * out);
    const double sheet = std::abs(value) / (norm(across) + 0.03);
    depth = std::max(depth, 55 * (1 - k));  // the base is no cortex
    const double floor = 20 + 6 * std::clamp(depth_.at(at), -1.6, 1.6);
    const double width = 0.35 + sulcus_mm_ * std::clamp(1 - depth / floor, 0.0, 1.0);
    return std::hypot(sheet, std::max(0.0, depth - floor)) - width;
  }

  Tissue cerebrum(Point p, double depth) const {
    if (depth < 45) {  // the ventricles' own walls are further in
      const double v = ventricles_mm(p);
      if (v < 0) return in_choroid_plexus(p) ? Tissue::choroid_plexus : Tissue::csf;
    }
    if (in_deep_grey(p)) return Tissue::deep_grey;
    const double closed = fissure_mm(p);
    if (closed < 0) return Tissue::csf;
    const double sulcus = depth < 36 ? std::min(sylvian_mm(p), sulcus_mm(p, depth)) : 1e3;
    if (sulcus < 0) return Tissue::sulcus;
    return std::min({depth, closed, sulcus}) < cortex_mm_ ? Tissue::grey : Tissue::white;
  }

  Tissue cerebellum(Point p, double depth) const {
    if (ventricles_mm(p) < 0) return Tissue::csf;
    const double level = (p.z + 0.45 * p.y + 0.06 * std::abs(p.x) + 1.2 * folia_.at(p)) / 5.2;
    const double fissure = std::abs(2 * (level - std::floor(level)) - 1);  // 1 in the cleft between two folia
    if (fissure > 0.82 && depth < 9) return Tissue::sulcus;
    return depth > 19 || (depth > 4.5 && fissure < 0.022 * depth) ? Tissue::white : Tissue::cerebellar_grey;
  }

  Tissue tissue(Point p) const {
    if (ellipsoid_mm(p, {0, 0, 0}, {76, 94, 82}) > 0) return Tissue::background;
    const double upper = cerebrum_mm(p), lower = cerebellum_mm(p), stem = stem_mm(p);
    const double base = ellipsoid_mm(p, {0, -2, -14}, {30, 28, 15});  // the cisterns between the lobes
    if (std::min(smooth_min(smooth_min(upper, lower, 8), stem, 12), base) > 1.6) return Tissue::background;
    const double tentorium = p.y < -24 && p.z < 4 ? 0.9 : 0.0;
    if (upper < -tentorium) return stem < 0 && p.z < 2 && upper > -9 ? Tissue::brain_stem : cerebrum(p, -upper);
    if (stem < 0) return ventricles_mm(p) < 0 ? Tissue::csf : Tissue::brain_stem;
    if (lower < 0 && upper > tentorium) return cerebellum(p, -lower);
    return Tissue::csf;
  }
};

// The named ones; head proportions before warp, so they may leave their bed by a millimetre or two.
void add_great_vessels(TissueMap& tissue, const Grid& grid) {
  std::vector<Point> sinus;
  for (double angle = -0.5; angle <= 3.4; angle += 0.1)
    sinus.push_back({0, 80 * std::cos(angle), 11 + 56 * std::sin(angle)});
  draw_tube(tissue, grid, sinus, 2.6);
  for (double side : {-1.0, 1.0}) {
    draw_tube(tissue, grid, {{0, -78, 0}, {side * 22, -74, -8}, {side * 44, -54, -14}}, 2.6);
    draw_tube(tissue, grid,
              {{side * 7, 2, -24}, {side * 8, 6, -16}, {side * 22, 8, -9}, {side * 36, 8, -3}, {side * 40, -6, 4}},
              1.4);
    draw_tube(tissue, grid, {{side * 8, 6, -16}, {side * 2, 24, -8}, {side * 1.2, 42, 6}, {side * 1.2, 40, 26}}, 1.1);
  }
  draw_tube(tissue, grid, {{0, -1, -44}, {0, 1, -30}, {0, 0, -16}}, 1.6);
  draw_tube(tissue, grid, {{0, -36, 6}, {0, -54, 4}, {0, -78, 0}}, 1.7);
}

}  // namespace

TissueMap analytic_anatomy(const Grid& grid, const Streams& streams) {
  TissueMap tissue(static_cast<size_t>(grid.count()));
  const Head head(grid, streams);
  parallel_for(grid.size[1] * grid.size[2], 16, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) head.row(grid, row, &tissue[static_cast<size_t>(row * grid.size[0])]);
  });
  add_great_vessels(tissue, grid);
  return tissue;
}

}  // namespace metvox::phantom
