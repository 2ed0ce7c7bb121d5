// SPDX-License-Identifier: Apache-2.0
// kernels/launch.h on a GPU: for_each(stream, n, body) calls body(i) for i in [0, n). A body is a struct with a
// METVOX_HD operator()(int64_t) const, so that the CPU's side runs the very same.
#pragma once
#include <algorithm>

#include "kernels/cuda/kernel.h"

namespace metvox::METVOX_KERNEL_NS {

constexpr int kEachThreads = 256;
constexpr int64_t kEachBlocks = 4096;  // at most; a thread then takes every so-many-th element

// Blocks for n elements, one a thread and pass.
inline dim3 each_grid(int64_t n) {
  return {static_cast<unsigned>(std::min((n + kEachThreads - 1) / kEachThreads, kEachBlocks))};
}

METVOX_DEVICE int64_t each_first() { return int64_t{blockIdx.x} * kEachThreads + threadIdx.x; }
METVOX_DEVICE int64_t each_step() { return int64_t{gridDim.x} * kEachThreads; }

template <class Body>
__global__ void __launch_bounds__(kEachThreads) each(int64_t n, Body body) {
  for (int64_t i = each_first(); i < n; i += each_step()) body(i);
}

template <class Body>
void for_each(Stream& stream, int64_t n, const Body& body) {
  if (n > 0) launch(each<Body>, each_grid(n), dim3(kEachThreads), 0, stream, n, body);
}

}  // namespace metvox::METVOX_KERNEL_NS
