// SPDX-License-Identifier: Apache-2.0
#include "segmentation/phantom/lesions.h"

#include <algorithm>
#include <limits>
#include <numbers>
#include <optional>
#include <queue>

#include "segmentation/phantom/noise.h"

namespace metvox::phantom {

int64_t draw_lesion_count(Random& random) {
  const double n = std::exp(std::log(4.0) + 1.19 * random.normal());
  return std::clamp<int64_t>(std::lround(n), 1, 80);
}

double draw_lesion_radius_mm(Random& random, bool first) {
  const bool large = random.uniform() < 0.25 || first;
  const double r = large ? 9 * std::exp(0.45 * random.normal()) : 2 * std::exp(0.35 * random.normal());
  constexpr double kNoticed_mm = 6;  // the lesion that brought the patient to the scanner
  return std::clamp(r, first ? kNoticed_mm : 1.0, 18.0);
}

namespace {

constexpr float kNever = std::numeric_limits<float>::infinity();

// What is decided about a lesion before it grows.
struct Plan {
  Point centre;
  double radius_mm = 0;
  Point axis[3];                  // rows of the rotation, each divided by its semi-axis
  double necrosis_below_mm = -1;  // from the centre, in distances of the ellipsoid
  double oedema_mm = 0;
};

bool admits_core(Tissue t) { return t != Tissue::background && t != Tissue::csf && t != Tissue::choroid_plexus; }

// Oedema's cost of a mm.
float oedema_cost(Tissue t) {
  switch (t) {
    case Tissue::white: return 1.0f;
    case Tissue::deep_grey:
    case Tissue::brain_stem: return 2.0f;
    case Tissue::grey:
    case Tissue::cerebellar_grey:
    case Tissue::vessel: return 2.8f;
    default: return kNever;
  }
}

// A place in white matter within 3 mm of grey matter; nothing when none is found.
std::optional<Point> draw_centre(const TissueMap& tissue, const Grid& grid, Random& random) {
  const Box box = grid.box();
  const double reach = std::max(3.2, 0.6 * *std::max_element(grid.spacing_mm.begin(), grid.spacing_mm.end()));
  const auto at = [&](Point p) {
    const int64_t v = grid.nearest(p);
    return v < 0 ? Tissue::background : tissue[static_cast<size_t>(v)];
  };
  for (int attempt = 0; attempt < 4000; ++attempt) {
    const Point p{random.uniform(box.low.x, box.high.x), random.uniform(box.low.y, box.high.y),
                  random.uniform(box.low.z, box.high.z)};
    if (at(p) != Tissue::white) continue;
    for (const Point& step : {Point{1, 0, 0}, {-1, 0, 0}, {0, 1, 0}, {0, -1, 0}, {0, 0, 1}, {0, 0, -1}}) {
      const Tissue t = at(p + reach * step);
      if (t == Tissue::grey || t == Tissue::cerebellar_grey) return p;
    }
  }
  return std::nullopt;
}

void draw_shape(Plan& plan, Random& random) {
  double q[4], length = 0;
  for (double& c : q) {
    c = random.normal();
    length += c * c;
  }
  length = std::max(1e-6, std::sqrt(length));
  for (double& c : q) c /= length;
  const double a = q[0], b = q[1], c = q[2], d = q[3];
  const Point rotation[3] = {{a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)},
                             {2 * (b * c + a * d), a * a - b * b + c * c - d * d, 2 * (c * d - a * b)},
                             {2 * (b * d - a * c), 2 * (c * d + a * b), a * a - b * b - c * c + d * d}};
  double semi[3];
  for (double& s : semi) s = random.uniform(0.8, 1.25);
  const double mean = std::cbrt(semi[0] * semi[1] * semi[2]);
  for (int i = 0; i < 3; ++i) plan.axis[i] = (mean / semi[i]) * rotation[i];
}

std::optional<Plan> draw_plan(const TissueMap& tissue, const Grid& grid, Random& random, bool first) {
  Plan plan;
  const double r = plan.radius_mm = draw_lesion_radius_mm(random, first);
  draw_shape(plan, random);
  const double rim = random.uniform(0.18, 0.4) * r + 1;
  if (random.uniform() < 0.75 && r > 4.5) plan.necrosis_below_mm = r - rim;
  constexpr double kFarthest_mm = 22;
  const double reach = std::min(kFarthest_mm, r * random.uniform(0.6, 2.0) + (r > 4 ? 3 : 0));
  if (random.uniform() < 0.25 || r > 3.5) plan.oedema_mm = reach;
  const auto centre = draw_centre(tissue, grid, random);
  if (!centre) return std::nullopt;
  plan.centre = *centre;
  return plan;
}

class Grower {
 public:
  Grower(const TissueMap& tissue, const Grid& grid, LesionMap& map)
      : tissue_(tissue), grid_(grid), map_(map), time_(tissue.size(), kNever) {
    const int64_t stride[3] = {1, grid.size[0], grid.size[0] * grid.size[1]};
    for (int64_t n = 0; n < 27; ++n) {
      const int64_t d[3] = {n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1};
      if (n == 13) continue;
      const Point mm{static_cast<double>(d[0]) * grid.spacing_mm[0], static_cast<double>(d[1]) * grid.spacing_mm[1],
                     static_cast<double>(d[2]) * grid.spacing_mm[2]};
      neighbours_.push_back(
          {d[0] * stride[0] + d[1] * stride[1] + d[2] * stride[2], {d[0], d[1], d[2]}, static_cast<float>(norm(mm))});
    }
  }

  void grow(const Plan& plan, uint16_t id, const Streams& streams) {
    const double r = plan.radius_mm;
    const Box box = around(plan.centre, 1.5 * r + 3);
    const SmoothNoise surface(streams(Purpose::lesion, 4 * id + 1), box, std::max(3.0, 1.2 * r));
    const SmoothNoise inner(streams(Purpose::lesion, 4 * id + 2), box, std::max(2.0, 0.8 * r));
    const auto outside_mm = [&](int64_t v) {
      const Point p = grid_.point(v), from = p - plan.centre;
      const Point q{dot(plan.axis[0], from), dot(plan.axis[1], from), dot(plan.axis[2], from)};
      return norm(q) + 0.13 * r * std::clamp(surface.at(p), -2.0, 2.0);
    };
    const std::vector<int64_t> core = connected(plan, outside_mm);
    if (core.empty()) return;
    if (plan.oedema_mm > 0) spread(plan, core, id, streams(Purpose::lesion, 4 * id + 3));
    for (int64_t v : core) {
      const bool necrotic =
          plan.necrosis_below_mm > 0 && outside_mm(v) + 0.08 * r * inner.at(grid_.point(v)) < plan.necrosis_below_mm;
      map_.labels[static_cast<size_t>(v)] = necrotic ? 1 : 3;
      map_.owner[static_cast<size_t>(v)] = id;
    }
  }

 private:
  struct Neighbour {
    int64_t offset;
    int64_t step[3];
    float mm;
  };
  const TissueMap& tissue_;
  const Grid& grid_;
  LesionMap& map_;
  std::vector<Neighbour> neighbours_;
  std::vector<float> time_;  // of arrival; all kNever between calls

  static Box around(Point centre, double half_mm) {
    const Point half{half_mm, half_mm, half_mm};
    return {centre - half, centre + half};
  }

  template <class F>
  void for_neighbours(int64_t v, F&& f) const {
    const int64_t at[3] = {v % grid_.size[0], v / grid_.size[0] % grid_.size[1], v / (grid_.size[0] * grid_.size[1])};
    for (const Neighbour& n : neighbours_) {
      bool inside = true;
      for (int a = 0; a < 3; ++a) inside &= at[a] + n.step[a] >= 0 && at[a] + n.step[a] < grid_.size[a];
      if (inside) f(v + n.offset, n.mm);
    }
  }

  // The voxels of the core that hang together with its middle: the far side of a fissure stays free. A core that misses
  // every voxel's centre is empty.
  template <class F>
  std::vector<int64_t> connected(const Plan& plan, F&& outside_mm) {
    const auto belongs = [&](int64_t v) {
      return time_[static_cast<size_t>(v)] == kNever && admits_core(tissue_[static_cast<size_t>(v)]) &&
             outside_mm(v) < plan.radius_mm;
    };
    const int64_t start = grid_.nearest(plan.centre);
    std::vector<int64_t> core;
    if (start >= 0 && belongs(start)) core.push_back(start);
    else if (start >= 0)
      for_neighbours(start, [&](int64_t v, float) {
        if (core.empty() && belongs(v)) core.push_back(v);
      });
    for (int64_t v : core) time_[static_cast<size_t>(v)] = 0;
    for (size_t next = 0; next < core.size(); ++next)
      for_neighbours(core[next], [&](int64_t v, float) {
        if (!belongs(v)) return;
        time_[static_cast<size_t>(v)] = 0;
        core.push_back(v);
      });
    for (int64_t v : core) time_[static_cast<size_t>(v)] = kNever;
    return core;
  }

  // Dijkstra's fronts from the core; oedema is what they reach within the lesion's oedema_mm.
  void spread(const Plan& plan, const std::vector<int64_t>& core, uint16_t id, Random random) {
    const SmoothNoise noise(random, around(plan.centre, 1.5 * plan.radius_mm + 1.6 * plan.oedema_mm), 8);
    using Arrival = std::pair<float, int64_t>;
    std::priority_queue<Arrival, std::vector<Arrival>, std::greater<>> fronts;
    std::vector<int64_t> reached = core;
    for (int64_t v : core) {
      time_[static_cast<size_t>(v)] = 0;
      fronts.emplace(0.0f, v);
    }
    while (!fronts.empty()) {
      const auto [time, from] = fronts.top();
      fronts.pop();
      if (time > time_[static_cast<size_t>(from)]) continue;
      const float drag = 1 + 0.35f * static_cast<float>(std::clamp(noise.at(grid_.point(from)), -1.0, 1.0));
      for_neighbours(from, [&](int64_t v, float mm) {
        const float arrival = time + mm * drag * oedema_cost(tissue_[static_cast<size_t>(v)]);
        float& known = time_[static_cast<size_t>(v)];
        if (arrival >= known || arrival > plan.oedema_mm) return;
        if (known == kNever) reached.push_back(v);
        known = arrival;
        fronts.emplace(arrival, v);
      });
    }
    for (int64_t v : reached) {
      time_[static_cast<size_t>(v)] = kNever;
      if (map_.labels[static_cast<size_t>(v)] != 0) continue;
      map_.labels[static_cast<size_t>(v)] = 2;
      map_.owner[static_cast<size_t>(v)] = id;
    }
  }
};

// Removes lesions that later ones left without a core, numbers the rest from 1 and measures them.
void settle(LesionMap& map, const Grid& grid, int64_t grown) {
  struct Sum {
    int64_t voxels[4] = {};
    Point core;
  };
  std::vector<Sum> sums(static_cast<size_t>(grown + 1));
  for (size_t v = 0; v < map.labels.size(); ++v) {
    if (map.labels[v] == 0) continue;
    Sum& sum = sums[map.owner[v]];
    ++sum.voxels[map.labels[v]];
    if (map.labels[v] != 2) sum.core = sum.core + grid.point(static_cast<int64_t>(v));
  }
  std::vector<uint16_t> id(sums.size(), 0);
  for (size_t i = 1; i < sums.size(); ++i) {
    const int64_t* n = sums[i].voxels;
    const int64_t core = n[1] + n[3];
    if (core == 0) continue;
    PhantomLesion lesion;
    lesion.id = id[i] = static_cast<uint16_t>(map.lesions.size() + 1);
    const Point centre = (1.0 / static_cast<double>(core)) * sums[i].core;
    lesion.centre_mm = {centre.x, centre.y, centre.z};
    lesion.radius_mm = std::cbrt(0.75 / std::numbers::pi * static_cast<double>(core) * grid.voxel_mm3());
    for (int label = 1; label <= 3; ++label)
      lesion.volume_mm3[label] = static_cast<double>(n[label]) * grid.voxel_mm3();
    lesion.volume_mm3[0] = static_cast<double>(core + n[2]) * grid.voxel_mm3();
    map.lesions.push_back(lesion);
  }
  for (size_t v = 0; v < map.labels.size(); ++v) {
    map.owner[v] = id[map.owner[v]];
    if (map.owner[v] == 0) map.labels[v] = 0;
  }
}

}  // namespace

LesionMap grow_lesions(const TissueMap& tissue, const Grid& grid, const Streams& streams) {
  LesionMap map;
  map.labels.assign(tissue.size(), 0);
  map.owner.assign(tissue.size(), 0);
  Random count = streams(Purpose::count);
  const int64_t n = draw_lesion_count(count);
  Grower grower(tissue, grid, map);
  for (int64_t id = 1; id <= n; ++id) {
    Random random = streams(Purpose::lesion, 4 * id);
    const auto plan = draw_plan(tissue, grid, random, id == 1);
    if (!plan) continue;
    const double volume_mm3 = 4.0 / 3.0 * std::numbers::pi * std::pow(plan->radius_mm, 3);
    if (volume_mm3 >= grid.voxel_mm3()) grower.grow(*plan, static_cast<uint16_t>(id), streams);
  }
  settle(map, grid, n);
  return map;
}

}  // namespace metvox::phantom
