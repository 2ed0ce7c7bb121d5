// SPDX-License-Identifier: Apache-2.0
// Planted bugs: TMA by im2col in a pipeline of its own warpgroup, and registers that warpgroups hand on.
#include "kernels/cuda/hopper.h"
#include "tests/kernels/sim/bugs/bugs.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

constexpr int kRows = 64;  // of a load: places of a 3 x 3 x 3 kernel
constexpr uint32_t kBytes = kRows * 128;

// An image (1, 4, 4, 8, 64) of ones.
struct Image {
  SimBuffer<bf16> x{"x", std::vector<bf16>(128 * 64, bf16(1.f))};
  SimBuffer<float> y{"y", 384};
  TensorMap map() {
    return make_im2col_map({DType::bf16, x.data(), 1, 64, {4, 4, 8}, {-1, -1, -1}, {-1, -1, -1}, {1, 1, 1}, 64, kRows});
  }
};

#define METVOX_IM2COL_BUG(kernel, report)                                                                        \
  const RegisterBug kernel##_bug(#kernel, __FILE__, report, [](bool right) {                                     \
    Image of;                                                                                                    \
    Stream stream;                                                                                               \
    launch(right ? kernel<true> : kernel<false>, dim3(1), dim3(384), 2 * kBytes, stream, of.map(), of.y.data()); \
  })

METVOX_DEVICE void prepare(uint64_t* barriers, int count) {
  if (threadIdx.x == 0) {
    for (int i = 0; i < count; ++i) mbarrier_init(&barriers[i], 1);
    fence_mbarrier_init();
  }
  __syncthreads();
}

template <bool right>
__global__ void im2col_expects_too_little(const __grid_constant__ TensorMap x, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED_DYN_1024(bf16, rows);
  METVOX_SHARED(uint64_t, full, );
  prepare(&full, 1);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, right ? 2 * kBytes : kBytes);      // of two loads
    tma_load_im2col(rows, x, &full, {0, -1, -1, -1, 0}, {0, 0, 0});  // bug: im2col_expects_too_little
    tma_load_im2col(rows + kRows * 64, x, &full, {0, -1, -1, 1, 0}, {0, 0, 0});
  }
  mbarrier_wait(&full, 0);
  y[threadIdx.x] = to_float(rows[threadIdx.x]) + to_float(rows[kRows * 64 + threadIdx.x]);
#endif
}
METVOX_IM2COL_BUG(im2col_expects_too_little, "the block ended with TMA loads that nobody waited for");

template <bool right>
__global__ void im2col_wrong_parity(const __grid_constant__ TensorMap x, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED_DYN_1024(bf16, rows);
  METVOX_SHARED(uint64_t, full, );
  prepare(&full, 1);
  for (int step = 0; step < 2; ++step) {
    if (threadIdx.x == 0) {
      mbarrier_arrive_expect(&full, kBytes);
      tma_load_im2col(rows, x, &full, {0, -1, -1, -1, 0}, {step, 0, 0});  // bug: im2col_wrong_parity
    }
    mbarrier_wait(&full, right ? step : 0);
    y[threadIdx.x] = to_float(rows[threadIdx.x]);  // bug: im2col_wrong_parity
    __syncthreads();
  }
  mbarrier_wait(&full, 1);
#endif
}
METVOX_IM2COL_BUG(im2col_wrong_parity, "race .* on shared `rows`");

template <bool right>
__global__ void im2col_from_outside_its_box(const __grid_constant__ TensorMap x, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED_DYN_1024(bf16, rows);
  METVOX_SHARED(uint64_t, full, );
  prepare(&full, 1);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, kBytes);
    const int w = right ? 6 : 7;                                    // the last tap would lie at 9
    tma_load_im2col(rows, x, &full, {0, w, -1, -1, 0}, {2, 2, 2});  // bug: im2col_from_outside_its_box
  }
  mbarrier_wait(&full, 0);
  y[threadIdx.x] = to_float(rows[threadIdx.x]);
#endif
}
METVOX_IM2COL_BUG(im2col_from_outside_its_box, "out of bounds: TMA by im2col from w = 7");

template <bool right>
__global__ void im2col_refilled_too_early(const __grid_constant__ TensorMap x, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED_DYN_1024(bf16, rows);
  METVOX_SHARED(uint64_t, barriers, [2]);
  uint64_t *const full = &barriers[0], *const empty = &barriers[1];
  prepare(barriers, 2);
  if (threadIdx.x >= 128) {
    if (threadIdx.x > 128) return;
    for (int step = 0; step < 3; ++step) {
      if (right) mbarrier_wait(empty, (step & 1) ^ 1);
      mbarrier_arrive_expect(full, kBytes);
      tma_load_im2col(rows, x, full, {0, -1, -1, -1, 0}, {step, 0, 0});  // bug: im2col_refilled_too_early
      if (!right) mbarrier_wait(full, step & 1);
    }
    return;
  }
  float d[16] = {};
  for (int step = 0; step < 3; ++step) {
    mbarrier_wait(full, step & 1);
    wgmma_fence(d);
    wgmma<bf16, 32>(d, descriptor_128(rows), descriptor_128(rows));  // bug: im2col_refilled_too_early
    wgmma_commit();
    wgmma_wait<0>(d);
    named_barrier(1, 128);
    if (threadIdx.x == 0) mbarrier_arrive(empty);
  }
  y[threadIdx.x] = d[0];
#endif
}
METVOX_IM2COL_BUG(im2col_refilled_too_early, "race .* on shared `rows`");

template <bool right>
__global__ void registers_that_nobody_gives_up(const __grid_constant__ TensorMap, float* y) {
#if METVOX_HOPPER
  if (threadIdx.x >= 256) {
    fewer_registers<right ? 24 : 40>();
    return;
  }
  more_registers<240>();  // bug: registers_that_nobody_gives_up
  y[threadIdx.x] = 1;
#endif
}
METVOX_IM2COL_BUG(registers_that_nobody_gives_up, "deadlock: no thread can run");

template <bool right>
__global__ void registers_of_half_a_warpgroup(const __grid_constant__ TensorMap, float* y) {
#if METVOX_HOPPER
  if (threadIdx.x >= (right ? 128 : 64)) fewer_registers<40>();  // bug: registers_of_half_a_warpgroup
  else more_registers<232>();                                    // bug: registers_of_half_a_warpgroup
  y[threadIdx.x] = 1;
#endif
}
METVOX_IM2COL_BUG(registers_of_half_a_warpgroup, "divergent warpgroup");

}  // namespace
}  // namespace metvox::METVOX_KERNEL_NS
