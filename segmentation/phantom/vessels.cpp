// SPDX-License-Identifier: Apache-2.0
// Vessels are bright after contrast, as metastases are: what a network must learn to leave alone.
#include <algorithm>

#include "segmentation/phantom/anatomy.h"

namespace metvox::phantom {

void draw_tube(TissueMap& tissue, const Grid& grid, const std::vector<Point>& line, double radius_mm) {
  const double finest = *std::min_element(grid.spacing_mm.begin(), grid.spacing_mm.end());
  if (radius_mm < finest / 3) return;
  const auto fill = [&](Point p) {
    const int64_t v = grid.nearest(p);
    if (v < 0) return;
    Tissue& t = tissue[static_cast<size_t>(v)];
    if (t != Tissue::background && t != Tissue::choroid_plexus) t = Tissue::vessel;
  };
  for (size_t i = 0; i + 1 < line.size(); ++i) {
    const Point along = line[i + 1] - line[i];
    const int steps = std::max(1, static_cast<int>(std::ceil(norm(along) / (0.4 * finest))));
    for (int s = 0; s <= steps; ++s) {
      const Point centre = line[i] + (static_cast<double>(s) / steps) * along;
      fill(centre);  // at least a voxel wide, and never broken
      const double step = 0.5 * finest;
      for (double z = -radius_mm; z <= radius_mm; z += step)
        for (double y = -radius_mm; y <= radius_mm; y += step)
          for (double x = -radius_mm; x <= radius_mm; x += step)
            if (x * x + y * y + z * z < radius_mm * radius_mm) fill(centre + Point{x, y, z});
    }
  }
}

void add_vessels(TissueMap& tissue, const Grid& grid, const Streams& streams) {
  constexpr int kVessels = 44;
  for (int n = 0; n < kVessels; ++n) {
    Random random = streams(Purpose::vessels, n);
    Point at{random.uniform(-58, 58), random.uniform(-74, 74), random.uniform(-40, 62)};
    Point heading{random.normal(), random.normal(), random.normal()};
    const double radius_mm = random.uniform(0.45, 1.0);
    const int steps = 10 + static_cast<int>(random.below(25));
    std::vector<Point> line{at};
    for (int s = 0; s < steps; ++s) {
      heading = heading + 0.35 * Point{random.normal(), random.normal(), random.normal()};
      heading = (1 / std::max(1e-6, norm(heading))) * heading;
      at = at + 1.5 * heading;
      const int64_t v = grid.nearest(at);
      if (v < 0 || tissue[static_cast<size_t>(v)] == Tissue::background) break;
      line.push_back(at);
    }
    draw_tube(tissue, grid, line, radius_mm);
  }
}

}  // namespace metvox::phantom
