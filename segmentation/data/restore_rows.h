// SPDX-License-Identifier: Apache-2.0
// The hot loops of the way back from logits to labels, row by row.
#pragma once
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace metvox {

METVOX_ISA_DECLARE(
    // out[i] = wa * a[i] + wb * b[i], i < n.
    void mix_rows(const float* a, const float* b, float wa, float wb, int64_t n, float* out);
    // out[i] = wa[i] * in[first[i]] + wb[i] * in[second[i]], i < n; `in` has `width`, neither first nor second falls.
    void mix_along(const float* in, int64_t width, const int32_t* first, const int32_t* second, const float* wa,
                   const float* wb, int64_t n, float* out);
    // out[i] = values[r] of the first row r in which i is highest.
    void first_of_highest(const float* const* rows, int64_t count, const uint8_t* values, int64_t n, uint8_t* out);
    // out[i] = values[r] of the last row r in which i is above the threshold, 0 without one.
    void last_above(const float* const* rows, int64_t count, const uint8_t* values, float threshold, int64_t n,
                    uint8_t* out);)

}  // namespace metvox
