// SPDX-License-Identifier: Apache-2.0
// Sums over the threads of a block, always in the same order.
#pragma once
#include <algorithm>

#include "kernels/cuda/kernel.h"

namespace metvox::METVOX_KERNEL_NS {

template <class T>
METVOX_DEVICE T warp_sum(T v) {
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) v += __shfl_xor_sync(~0u, v, bits);
  return v;
}

// Of all threads of a block of whole warps, to thread 0. Once a kernel, and for the whole block.
METVOX_DEVICE double block_sum(double v) {
  METVOX_SHARED(double, of_warp, [32]);
  v = warp_sum(v);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x != 0) return 0;
  for (unsigned w = 1; w < blockDim.x / 32; ++w) v += of_warp[w];
  return v;
}

// ---- the host's side ----

// Threads of a block that sums n numbers, some `each` a thread; at most 512.
inline dim3 sum_threads(int64_t n, int64_t each) {
  return {static_cast<unsigned>(std::clamp((n + 32 * each - 1) / (32 * each), int64_t{1}, int64_t{16})) * 32};
}

}  // namespace metvox::METVOX_KERNEL_NS
