// SPDX-License-Identifier: Apache-2.0
// Grad-CAM for segmentation (Vinogradova, Dibrov and Myers 2020; Selvaraju et al. 2017): which places of the network's
// deepest features speak for a lesion.
#pragma once
#include "segmentation/explain/lesion_window.h"
#include "segmentation/networks/model.h"

namespace metvox {

class GradCam {
 public:
  // Reads the weights of one fold. `head`: of the logits.
  GradCam(const ModelFolder& model, const std::string& fold, const std::string& checkpoint, int64_t head,
          const Target& target);
  ~GradCam();
  // f32 (patch), 0 or above: ReLU of the sum of the features A_k of the smallest grid, last of its stage, each times
  // the mean over that grid of d(sum of the target's logits over the lesion) / dA_k; interpolated to the patch.
  Tensor operator()(const LesionWindow& window);
  const Shape& features() const;  // (1, K, d, h, w)
  size_t bytes() const;           // arena and weights

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace metvox
