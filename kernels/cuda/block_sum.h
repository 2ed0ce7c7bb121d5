// SPDX-License-Identifier: Apache-2.0
// Sums over the threads of a block, always in the same order.
#pragma once
#include "kernels/cuda/kernel.h"

namespace metvox::METVOX_KERNEL_NS {

template <class T>
METVOX_DEVICE T warp_sum(T v) {
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) v += __shfl_xor_sync(~0u, v, bits);
  return v;
}

// Of all kThreads threads, to thread 0. Once a kernel, and for the whole block.
template <int kThreads>
METVOX_DEVICE double block_sum(double v) {
  METVOX_SHARED(double, of_warp, [kThreads / 32]);
  v = warp_sum(v);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x != 0) return 0;
  for (int w = 1; w < kThreads / 32; ++w) v += of_warp[w];
  return v;
}

}  // namespace metvox::METVOX_KERNEL_NS
