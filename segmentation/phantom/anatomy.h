// SPDX-License-Identifier: Apache-2.0
// Which tissue each voxel of a head is: drawn from formulas (grade P), or read from a label map (grade S).
#pragma once
#include <vector>

#include "io/files.h"
#include "segmentation/phantom/grid.h"

namespace metvox::phantom {

// csf is closed to lesions (ventricles, fissures, the space under the skull); sulcus is CSF that a growing lesion
// fills.
enum class Tissue : uint8_t {
  background,
  white,
  grey,
  deep_grey,
  cerebellar_grey,
  brain_stem,
  csf,
  sulcus,
  vessel,
  choroid_plexus
};
inline constexpr int kTissues = 10;

using TissueMap = std::vector<Tissue>;  // one a voxel of the grid, x fastest

TissueMap analytic_anatomy(const Grid& grid, const Streams& streams);

// FreeSurfer codes (whole head or brain alone), any axis order: the brain's box is put in the middle of the field of
// view, and shrunk where it would not fit. Throws Error (Fault::input) when the map holds no brain.
TissueMap label_map_anatomy(const Grid& grid, const Path& label_map);

// Winding tubes, thinner ones left out where voxels are coarse.
void add_vessels(TissueMap& tissue, const Grid& grid, const Streams& streams);

// A tube along a polyline, through everything in the head but choroid plexus. Below a third of a voxel it leaves no
// trace.
void draw_tube(TissueMap& tissue, const Grid& grid, const std::vector<Point>& line, double radius_mm);

}  // namespace metvox::phantom
