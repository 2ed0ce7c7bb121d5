// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace metvox::cpu {

// lanes[i] += the sum over rows of a[row * width + i]; bf16 comes as its bits.
METVOX_ISA_DECLARE(void add_rows_f32(const float* a, int64_t rows, int64_t width, float* lanes);
                   void add_rows_bf16(const uint16_t* a, int64_t rows, int64_t width, float* lanes);)

// a[row * width + i] += lanes[i]; bf16 rounds to nearest, ties to even.
METVOX_ISA_DECLARE(void add_to_rows_f32(float* a, int64_t rows, int64_t width, const float* lanes);
                   void add_to_rows_bf16(uint16_t* a, int64_t rows, int64_t width, const float* lanes);)

}  // namespace metvox::cpu
