// SPDX-License-Identifier: Apache-2.0
// Random words as whole numbers from -8 to 8, whose products add up exactly in any order.
#pragma once
#include <cstdint>

#include "tensor/host_device.h"

namespace metvox {

METVOX_HD inline float digit(uint32_t word) { return static_cast<float>(static_cast<int>(word % 17) - 8); }

}  // namespace metvox
