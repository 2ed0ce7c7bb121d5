// SPDX-License-Identifier: Apache-2.0
// NRRD, version 4, for writing: several masks in one file, as 3D Slicer keeps segmentations (.seg.nrrd). Axes of the
// world are L, P, S there. Source: teem.sourceforge.net/nrrd/format.html.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "io/files.h"
#include "io/volume.h"

namespace metvox {

// Voxels u8 (z, y, x, layers) on the grid, compressed; `fields` are written as KEY:=VALUE lines, in their order.
void write_nrrd(const Path& path, const Tensor& voxels, const Geometry& grid,
                const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace metvox
