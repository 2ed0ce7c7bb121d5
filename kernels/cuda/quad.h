// SPDX-License-Identifier: Apache-2.0
// Four neighbouring lanes hold two columns each of every 8 in a row of tensor cores' sums. Here they change places, so
// that each lane has 8 columns side by side.
#pragma once
#include "kernels/cuda/kernel.h"

namespace metvox::METVOX_KERNEL_NS {

// Of 4 words in each: word i of lane j becomes word j of lane i. By all lanes of the warp.
template <class Word>
METVOX_DEVICE void transpose_quad(Word (&word)[4], int lane) {
#pragma unroll
  for (int bit = 1; bit < 4; bit *= 2)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i & bit) continue;
      const bool high = lane & bit;
      const Word got = __shfl_xor_sync(~0u, high ? word[i] : word[i | bit], bit);
      (high ? word[i] : word[i | bit]) = got;
    }
}

}  // namespace metvox::METVOX_KERNEL_NS
