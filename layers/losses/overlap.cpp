// SPDX-License-Identifier: Apache-2.0
#include "layers/losses/overlap.h"

#include <algorithm>

namespace metvox {

OverlapTerm soft_dice(const OverlapSums& s) {
  constexpr double kSmooth = 1e-5, kFloor = 1e-8;
  const double top = 2 * s.intersection + kSmooth, sum = s.prediction + s.truth + kSmooth;
  const double bottom = std::max(sum, kFloor);
  return {-top / bottom, -2 / bottom, sum > kFloor ? top / (bottom * bottom) : 0};
}

}  // namespace metvox
