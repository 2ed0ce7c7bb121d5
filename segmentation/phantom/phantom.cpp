// SPDX-License-Identifier: Apache-2.0
#include "segmentation/phantom/phantom.h"

#include <algorithm>
#include <cstdio>

#include "segmentation/phantom/anatomy.h"
#include "segmentation/phantom/lesions.h"
#include "segmentation/phantom/render.h"

namespace metvox {

namespace phantom {
Geometry geometry_of(const Grid& grid) {
  Affine to_world;
  for (int a = 0; a < 3; ++a) {
    to_world.m[a][a] = grid.direction[a] * grid.spacing_mm[a];
    to_world.m[a][3] = static_cast<float>(grid.position(a, 0));
  }
  return make_geometry(grid.size, to_world);
}
}  // namespace phantom

std::string phantom_id(int64_t index) {
  char text[32];
  std::snprintf(text, sizeof text, "phantom_%04lld", static_cast<long long>(index + 1));
  return text;
}

PhantomCase make_phantom(const PhantomOptions& options, int64_t index) {
  using namespace phantom;
  const ScannerDomain& domain = scanner_domain(options.domain);
  Grid grid;
  for (int a = 0; a < 3; ++a) {
    if (options.size[a] < 8 || options.size[a] > 1024)
      fail(Fault::usage, "phantom: a size of ", options.size[0], "x", options.size[1], "x", options.size[2],
           " voxels; each must be from 8 to 1024");
    grid.size[a] = options.size[a];
    // A float, as NIfTI headers hold it.
    grid.spacing_mm[a] = static_cast<float>(kFieldOfView_mm[a] / static_cast<double>(options.size[a]));
  }
  grid.direction = domain.direction;
  const Streams streams{options.seed, index};

  const size_t maps = options.label_maps.size();
  TissueMap tissue = maps == 0 ? analytic_anatomy(grid, streams)
                               : label_map_anatomy(grid, options.label_maps[static_cast<size_t>(index) % maps]);
  add_vessels(tissue, grid, streams);
  LesionMap map = grow_lesions(tissue, grid, streams);

  PhantomCase out;
  out.id = phantom_id(index);
  out.geometry = geometry_of(grid);
  for (int s = 0; s < 4; ++s) out.sequences[s] = render(tissue, map, grid, domain, streams, s);
  out.labels = Tensor::empty({grid.size[2], grid.size[1], grid.size[0]}, DType::u8);
  std::copy(map.labels.begin(), map.labels.end(), out.labels.data<uint8_t>());
  out.lesions = std::move(map.lesions);
  return out;
}

}  // namespace metvox
