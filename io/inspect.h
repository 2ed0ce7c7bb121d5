// SPDX-License-Identifier: Apache-2.0
// What `metvox inspect IMAGE --json` prints.
#pragma once
#include <array>
#include <optional>

#include "io/json.h"

namespace metvox {

// shape (file axis order), spacing_mm, axes, dtype (on disk), affine (4x4, index to mm), min, max, mean (in double,
// after scl_slope/inter, over finite voxels; null when there are none), warnings. With `at_mm` also value: the voxel
// nearest to that point (null when it is not finite); throws Error (Fault::input) when the point is outside the image.
Json inspect_image(const Path& path, const std::optional<std::array<double, 3>>& at_mm = {});

}  // namespace metvox
