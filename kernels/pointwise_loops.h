// SPDX-License-Identifier: Apache-2.0
// The pointwise loops that the compiler's plain code leaves short of memory speed: those of bf16, handed over by its
// bits.
#pragma once
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace metvox {

METVOX_ISA_DECLARE(void add_bf16(const uint16_t* a, const uint16_t* b, int64_t n, uint16_t* y);
                   void bf16_to_f32(const uint16_t* x, int64_t n, float* y);
                   void f32_to_bf16(const float* x, int64_t n, uint16_t* y);)

}  // namespace metvox
