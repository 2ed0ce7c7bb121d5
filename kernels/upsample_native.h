// SPDX-License-Identifier: Apache-2.0
// Loops of upsample's native engine over one row (along W) of one image; T is float or uint16_t (bf16).
#pragma once
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace metvox::native {

// Floats by which the loops may read or write beyond a row of the caller's scratch.
constexpr int64_t kRowSlack = 16;

// Rows of the other side, and how much of each.
template <class T>
struct WeightedRows {
  int count = 0;
  const T* row[16] = {};
  float weight[16] = {};
};

}  // namespace metvox::native

namespace metvox {

METVOX_ISA_DECLARE(
    // A row y of 2 w voxels from rows of w voxels; sums has room for w * c floats.
    template <class T> void upsample_row(const native::WeightedRows<T>& rows, int64_t w, int64_t c, float* sums, T* y);
    // A row dx of w voxels from rows of 2 w voxels; sums has room for 2 w * c floats, gathered for w * c.
    template <class T> void upsample_row_back(const native::WeightedRows<T>& rows, int64_t w, int64_t c,
                                              bool accumulate, float* sums, float* gathered, T* dx);)

}  // namespace metvox
