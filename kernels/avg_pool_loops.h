// SPDX-License-Identifier: Apache-2.0
// Loops of avg_pool over one row (along W) of the smaller image; T is float or uint16_t (bf16). `rows` are the rows of
// the larger one that lie in it, `step` its voxels to one of the smaller one's w.
#pragma once
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace metvox {

METVOX_ISA_DECLARE(template <class T>
                   void avg_pool_row(const T* const* rows, int64_t count, int64_t step, int64_t w, int64_t c, T* y);
                   template <class T> void avg_pool_row_back(const T* dy, int64_t count, int64_t step, int64_t w,
                                                             int64_t c, bool accumulate, T* const* rows);)

}  // namespace metvox
