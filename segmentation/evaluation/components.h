// SPDX-License-Identifier: Apache-2.0
// Connected components of a mask: voxels that touch by a face, an edge or a corner (26 neighbours) belong together.
#pragma once
#include <vector>

#include "segmentation/data/preprocess.h"

namespace metvox {

struct Component {
  int64_t voxels = 0;
  Double3 centre{};      // mean index (z, y, x)
  Int3 first{}, last{};  // bounding box, half open
  CropBox box() const { return {first, last}; }
};

struct Components {
  Tensor index;                       // i32 (z, y, x): 0 outside, k inside components[k - 1]
  std::vector<Component> components;  // in the order of their first voxels
};

// Mask u8 (z, y, x), 1 inside.
Components find_components(const Tensor& mask);

}  // namespace metvox
