// SPDX-License-Identifier: Apache-2.0
// Overlap terms that losses share.
#pragma once
#include "layers/loss.h"

namespace metvox {

// -(2 I + s) / max(P + G + s, 1e-8) with s = 1e-5: nnU-Net's soft Dice, to be minimised.
OverlapTerm soft_dice(const OverlapSums& sums);

}  // namespace metvox
