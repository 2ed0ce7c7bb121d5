// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/pair_distances.h"

#include <algorithm>
#include <cstring>

#include "segmentation/evaluation/border.h"
#include "segmentation/evaluation/surface.h"

namespace metvox {

const PairMeasures& PairDistances::of(const Tensor& prediction, const Tensor& truth) {
  const Int3 n{truth.shape()[0], truth.shape()[1], truth.shape()[2]};
  std::vector<uint8_t> key(sizeof n + static_cast<size_t>(truth.size()));
  std::memcpy(key.data(), n.data(), sizeof n);
  std::transform(prediction.data<uint8_t>(), prediction.data<uint8_t>() + prediction.size(), truth.data<uint8_t>(),
                 key.begin() + sizeof n, [](uint8_t p, uint8_t t) { return static_cast<uint8_t>(p | t << 1); });
  const auto [found, is_new] = known_.try_emplace(std::move(key));
  if (is_new) {
    const BorderDistances border = border_distances(prediction, truth, spacing_mm_);
    found->second = {surface_distances(prediction, truth, spacing_mm_).hausdorff_mm(.95), border.hd95_mm(),
                     border.dice(.5), border.dice(1),
                     border.dice(*std::min_element(spacing_mm_.begin(), spacing_mm_.end()))};
  }
  return found->second;
}

}  // namespace metvox
