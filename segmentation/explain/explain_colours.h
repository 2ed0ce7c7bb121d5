// SPDX-License-Identifier: Apache-2.0
// What the tints in pictures and page mean; told apart by colour-blind readers too.
#pragma once
#include "io/png.h"

namespace metvox {

constexpr Rgb kUnsureColour{240, 70, 200};  // entropy, disagreement
constexpr Rgb kHitColour{60, 170, 120}, kFalseColour{150, 90, 220}, kMissedColour{225, 60, 70};
constexpr Rgb kForColour{255, 215, 40}, kAgainstColour{70, 130, 255};  // occlusion, Grad-CAM

}  // namespace metvox
