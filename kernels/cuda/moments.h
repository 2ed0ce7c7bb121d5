// SPDX-License-Identifier: Apache-2.0
// Moments (kernels/moments.h) as a kernel's epilogue gathers them: a few numbers a thread, then by pairs, always in the
// same order (Chan et al. 1979).
#pragma once
#include "kernels/cuda/kernel.h"

namespace metvox::METVOX_KERNEL_NS {

// Some numbers of one thread, some dozens at most, as distances from an origin, which is the first of them. As that is
// one of them, the squares of the distances are at most about as many times the squared deviations, so that few digits
// cancel.
struct Distances {
  float sum = 0, squares = 0;

  METVOX_DEVICE void add(float apart) {
    sum += apart;
    squares = __fmaf_rn(apart, apart, squares);
  }
  METVOX_DEVICE float4 moments(float origin, int count) const {
    if (count == 0) return make_float4(0, 0, 0, 0);
    const float mean = sum / static_cast<float>(count), square = squares - sum * mean;
    return make_float4(origin, mean, square > 0 ? square : 0, static_cast<float>(count));
  }
};

// Of both, from a's origin.
METVOX_DEVICE float4 merged(const float4& a, const float4& b) {
  if (b.w == 0) return a;
  const float count = a.w + b.w, share = b.w / count, apart = b.x - a.x + (b.y - a.y);
  return make_float4(a.x, a.y + apart * share, a.z + b.z + apart * apart * a.w * share, count);
}

// Over the lanes of a warp whose numbers differ in bits `least` and above alone, to the lowest of them. By the whole
// warp.
METVOX_DEVICE float4 merged_lanes(float4 mine, int least) {
  for (int bit = 16; bit >= least; bit /= 2)
    mine = merged(mine, make_float4(__shfl_xor_sync(~0u, mine.x, bit), __shfl_xor_sync(~0u, mine.y, bit),
                                    __shfl_xor_sync(~0u, mine.z, bit), __shfl_xor_sync(~0u, mine.w, bit)));
  return mine;
}

}  // namespace metvox::METVOX_KERNEL_NS
