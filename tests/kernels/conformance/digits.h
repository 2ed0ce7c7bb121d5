// SPDX-License-Identifier: Apache-2.0
// Random words as whole numbers from -8 to 8, whose products add up exactly in any order; or as any floats but NaN,
// whose payload is free.
#pragma once
#include <cstdint>

#include "tensor/host_device.h"

namespace metvox {

METVOX_HD inline float digit(uint32_t word) { return static_cast<float>(static_cast<int>(word % 17) - 8); }

METVOX_HD inline uint32_t finite_or_infinite(uint32_t word) {
  return (word & 0x7fffffffu) > 0x7f800000u ? word & 0xff7fffffu : word;
}

// The i-th of them; every fourth lies halfway between two tf32 numbers.
METVOX_HD inline uint32_t word_for_tf32(uint32_t word, uint32_t i) {
  return finite_or_infinite(i % 4 ? word : (word & ~0x1fffu) | 0x1000u);
}

}  // namespace metvox
