// SPDX-License-Identifier: Apache-2.0
// One lesion of a preprocessed case, and the one patch around it that the network is asked about.
#pragma once
#include "segmentation/evaluation/mask.h"

namespace metvox {

struct LesionWindow {
  Int3 first{};  // of the patch in the case, below 0 where the case is smaller
  Tensor data;   // f32 (C, patch): 0 beyond the case
  Tensor mask;   // u8 (patch): 1 in the lesion
  CropBox box;   // of the lesion, in the patch
  int64_t voxels = 0;
};
// `lesion` u8 (z, y, x), 1 inside, not empty. The patch is centred on it as far as the case allows; of a lesion larger
// than the patch the part inside counts.
LesionWindow window_around(const Tensor& lesion, const Tensor& data, const Int3& patch);
// A map f32 (patch) of the window on the grid of the case (1, z, y, x), 0 elsewhere.
Tensor placed(const Tensor& map, const LesionWindow& window, const Int3& size);

}  // namespace metvox
