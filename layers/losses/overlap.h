// SPDX-License-Identifier: Apache-2.0
// Overlap terms that losses share.
#pragma once
#include "layers/loss.h"

namespace metvox {

// -(2 I + s) / max(P + G + s, 1e-8) with s = 1e-5: nnU-Net's soft Dice, to be minimised.
constexpr OverlapRatio kSoftDice{
    .base = 0, .top_i = 2, .top_0 = 1e-5, .bottom_i = 0, .bottom_p = 1, .bottom_g = 1, .bottom_0 = 1e-5, .floor = 1e-8};

}  // namespace metvox
