// SPDX-License-Identifier: Apache-2.0
// The executor's side of kernels/cuda/hopper.h: mbarriers, TMA loads and warpgroup products, at the level of those
// wrappers. All of it works as late as is legal: TMA when no thread can run, wgmma at its wait.
#pragma once
#include <cstdint>

#include "kernels/sim/simt.h"

namespace metvox::sim {

// What a tensor map says; the innermost dimension first, its stride being one element. An image's map for im2col
// (channels, w, h, d, n) has box[0] channels of `pixels` places, and the corners and steps of w, h, d.
struct TensorMap {
  const char* base = nullptr;
  int rank = 0;
  uint32_t element_bytes = 0, swizzle_bytes = 0;  // of the span: 0 or 128
  uint64_t extent[5] = {}, stride_bytes[5] = {};
  uint32_t box[5] = {};
  uint32_t pixels = 0;  // 0: a tiled map
  int lower[3] = {}, upper[3] = {}, step[3] = {};
};

}  // namespace metvox::sim

namespace simt {

void mbarrier_init(uint64_t* barrier, uint32_t arrivals);
void mbarrier_arrive(uint64_t* barrier, uint32_t expected_bytes);
void mbarrier_wait(uint64_t* barrier, uint32_t parity, Site at);
void proxy_fence();
// The map's box at these coordinates, zeros outside of the tensor; then box bytes arrive at the barrier. `tap` (w, h,
// d) is of loads by im2col, else null.
void tma_load(void* to, const metvox::sim::TensorMap& map, uint64_t* barrier, const int* coordinates, const int* tap);

// setmaxnreg by a warpgroup. A block is taken to have been launched with as many registers a thread as a
// multiprocessor has for one such block.
void more_registers(int per_thread, Site at);
void fewer_registers(int per_thread, Site at);

// D (64 x n, f32) = A B (+ D where accumulate), K = 16. A from a descriptor, or from registers where a_registers.
struct WarpgroupProduct {
  Format format;
  int n;
  float* d;
  const uint32_t* a_registers;
  uint64_t a, b;  // descriptors
  bool a_mn_major, b_mn_major, accumulate;
};
void wgmma(const WarpgroupProduct& product, Site at);
void wgmma_commit(Site at);
// `sums`: the calling thread's registers of D that this wait makes right.
void wgmma_wait(int groups_left, const void* sums, size_t bytes, Site at);

}  // namespace simt
