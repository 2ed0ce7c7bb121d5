// SPDX-License-Identifier: Apache-2.0
// Distances between a true lesion and what was predicted of it. Under most rules it is the same pair of masks, so a
// pair is measured once and remembered.
#pragma once
#include <map>
#include <vector>

#include "tensor/tensor.h"

namespace metvox {

struct PairMeasures {
  double surface_hd95_mm = 0;                         // surface.h
  double border_hd95_mm = 0;                          // border.h, as the next
  double nsd_half = 0, nsd_one = 0, nsd_spacing = 0;  // at 0.5 mm, 1 mm and the smallest spacing
};

class PairDistances {
 public:
  explicit PairDistances(const Double3& spacing_mm) : spacing_mm_(spacing_mm) {}
  const Double3& spacing_mm() const { return spacing_mm_; }
  // Masks u8 (z, y, x), 1 inside, neither empty, in the smallest box around both.
  const PairMeasures& of(const Tensor& prediction, const Tensor& truth);

 private:
  Double3 spacing_mm_;
  std::map<std::vector<uint8_t>, PairMeasures> known_;  // by the box's extent and both masks
};

}  // namespace metvox
