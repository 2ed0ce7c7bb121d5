// SPDX-License-Identifier: Apache-2.0
// Occlusion (Zeiler and Fergus 2014): what becomes of the network's answer in a lesion when a part of what it sees is
// replaced by 0, the mean of a z-scored sequence; in a cascade also no label of the previous stage.
#pragma once
#include "segmentation/explain/lesion_window.h"
#include "segmentation/inference/predictor.h"

namespace metvox {

struct Occlusion {
  double log_odds = 0;  // of the target, mean over the lesion's voxels, nothing covered
  // How much of that is lost, the mean over the boxes that cover a voxel, f32 (patch): above 0 where what is seen
  // speaks for the lesion, below where it speaks against it.
  Tensor lost;
  std::vector<double> lost_without;  // the same with each input of the network covered whole
  Int3 edge{};                       // of the boxes, voxels
};
// Means over the predictor's folds, without mirror images. Boxes have edges of 8 mm, or half the lesion's longest
// extent where that is more; they move by half an edge, over the lesion and one edge around it. `region`: in
// Labels::foreground().
Occlusion occlusion_of(Predictor& predictor, const LesionWindow& window, const Labels& labels, size_t region,
                       const Double3& spacing_mm, const std::function<void(int64_t, int64_t)>& progress);

}  // namespace metvox
