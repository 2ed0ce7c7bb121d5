// SPDX-License-Identifier: Apache-2.0
// Planted bugs: TMA, mbarriers, wgmma and the fence between ordinary stores and the asynchronous proxy.
#include "kernels/cuda/hopper.h"
#include "tests/kernels/sim/bugs/bugs.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

constexpr int kRows = 64, kBox = kRows * 8;  // boxes of 64 rows of 8 channels
constexpr uint32_t kBoxBytes = kBox * sizeof(bf16);

// 4 boxes of ones: a tensor (256, 8).
struct Ones {
  SimBuffer<bf16> x{"x", std::vector<bf16>(4 * kBox, bf16(1.f))};
  SimBuffer<float> y{"y", 128};
  TensorMap map() { return make_tensor_map({DType::bf16, x.data(), 2, {8, 4 * kRows}, {0, 16}, {8, kRows}, false}); }
};

#define METVOX_HOPPER_BUG(kernel, report)                                                               \
  const RegisterBug kernel##_bug(#kernel, __FILE__, report, [](bool right) {                            \
    Ones of;                                                                                            \
    Stream stream;                                                                                      \
    launch(right ? kernel<true> : kernel<false>, dim3(1), dim3(128), 0, stream, of.map(), of.y.data()); \
  })

METVOX_DEVICE void prepare(uint64_t* barrier, bool meet = true) {
  if (threadIdx.x == 0) {
    mbarrier_init(barrier, 1);
    fence_mbarrier_init();
  }
  if (meet) __syncthreads();
}

template <bool right>
__global__ void refill_under_wgmma(const __grid_constant__ TensorMap x, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED(bf16, tile, [2 * kBox]);
  METVOX_SHARED(uint64_t, full, );
  prepare(&full);
  float d[16] = {};
  const uint64_t cores = descriptor_cores(tile, kBoxBytes, 128);
  for (int step = 0; step < 2; ++step) {
    if (threadIdx.x == 0) {
      mbarrier_arrive_expect(&full, 2 * kBoxBytes);
      tma_load<2>(tile, x, &full, {0, step * kRows});  // bug: refill_under_wgmma
      tma_load<2>(tile + kBox, x, &full, {0, step * kRows});
    }
    mbarrier_wait(&full, step);
    wgmma_fence(d);
    wgmma<bf16, 32>(d, cores, cores);  // bug: refill_under_wgmma
    wgmma_commit();
    wgmma_wait<0>(d);
    if (right) __syncthreads();
  }
  y[threadIdx.x] = d[0];
#endif
}
METVOX_HOPPER_BUG(refill_under_wgmma, "race \\(write after read\\) on shared `tile`");

template <bool right>
__global__ void missing_proxy_fence(const __grid_constant__ TensorMap, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED(bf16, operand, [2 * kBox]);
  for (int i = threadIdx.x; i < 2 * kBox; i += 128) operand[i] = from_float<bf16>(1.f);  // bug: missing_proxy_fence
  if (right) fence_proxy_async();
  __syncthreads();
  float d[16] = {};
  const uint64_t cores = descriptor_cores(operand, kBoxBytes, 128);
  wgmma_fence(d);
  wgmma<bf16, 32>(d, cores, cores);  // bug: missing_proxy_fence
  wgmma_commit();
  wgmma_wait<0>(d);
  y[threadIdx.x] = d[0];
#endif
}
METVOX_HOPPER_BUG(missing_proxy_fence, "missing fence_proxy_async .* shared `operand`");

template <bool right>
__global__ void product_never_waited(const __grid_constant__ TensorMap, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED(bf16, operand, [2 * kBox]);
  for (int i = threadIdx.x; i < 2 * kBox; i += 128) operand[i] = from_float<bf16>(1.f);
  fence_proxy_async();
  __syncthreads();
  float d[16] = {};
  const uint64_t cores = descriptor_cores(operand, kBoxBytes, 128);
  wgmma_fence(d);
  wgmma<bf16, 32>(d, cores, cores);  // bug: product_never_waited
  wgmma_commit();
  if (right) wgmma_wait<0>(d);
  y[threadIdx.x] = d[0];
#endif
}
METVOX_HOPPER_BUG(product_never_waited, "exited with wgmma products that it never waited for");

// On a GPU the compiler may read the sums before such a wait.
template <bool right>
__global__ void wait_without_its_sums(const __grid_constant__ TensorMap, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED(bf16, operand, [2 * kBox]);
  for (int i = threadIdx.x; i < 2 * kBox; i += 128) operand[i] = from_float<bf16>(1.f);
  fence_proxy_async();
  __syncthreads();
  float d[2][16] = {};
  const uint64_t cores = descriptor_cores(operand, kBoxBytes, 128);
  wgmma_fence(d);
  wgmma<bf16, 32>(d[0], cores, cores);
  wgmma<bf16, 32>(d[1], cores, cores);  // bug: wait_without_its_sums
  wgmma_commit();
  if (right) wgmma_wait<0>(d);
  else wgmma_wait<0>(d[0]);  // bug: wait_without_its_sums
  y[threadIdx.x] = d[0][0] + d[1][0];
#endif
}
METVOX_HOPPER_BUG(wait_without_its_sums, "wgmma_wait does not name the sums that it ends");

template <bool right>
__global__ void registers_changed_under_wgmma(const __grid_constant__ TensorMap, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED(bf16, operand, [kBox]);
  for (int i = threadIdx.x; i < kBox; i += 128) operand[i] = from_float<bf16>(1.f);
  fence_proxy_async();
  __syncthreads();
  float d[16] = {};
  uint32_t a[4] = {1, 2, 3, 4};
  const uint64_t b = descriptor_cores(operand, kBoxBytes / 2, 128);
  wgmma_fence(d);
  wgmma<bf16, 32>(d, a, b);  // bug: registers_changed_under_wgmma
  wgmma_commit();
  if (right) wgmma_wait<0>(d);
  for (uint32_t& pair : a) ++pair;
  wgmma_fence(d);
  wgmma<bf16, 32>(d, a, b);
  wgmma_commit();
  wgmma_wait<0>(d);  // bug: registers_changed_under_wgmma
  y[threadIdx.x] = d[0];
#endif
}
METVOX_HOPPER_BUG(registers_changed_under_wgmma, "registers of A were changed while a wgmma product read them");

// The copy asked for first need not land first, and what its issuer does later does not wait for it.
template <bool right>
__global__ void copy_of_another_mbarrier(const __grid_constant__ TensorMap x, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED(bf16, boxes, [2 * kBox]);
  METVOX_SHARED(uint64_t, full, [2]);
  prepare(&full[0]);
  prepare(&full[1]);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full[0], kBoxBytes);
    tma_load<2>(boxes, x, &full[0], {0, 0});  // bug: copy_of_another_mbarrier
    mbarrier_arrive_expect(&full[1], kBoxBytes);
    tma_load<2>(boxes + kBox, x, &full[1], {0, kRows});
  }
  if (right) mbarrier_wait(&full[0], 0);
  mbarrier_wait(&full[1], 0);
  y[threadIdx.x] = to_float(boxes[threadIdx.x]);  // bug: copy_of_another_mbarrier
#endif
}
METVOX_HOPPER_BUG(copy_of_another_mbarrier, "race \\(read after write\\) on shared `boxes`");

// Its issuer has no more right to a copy's bytes than others have.
template <bool right>
__global__ void issuer_reads_its_own_copy(const __grid_constant__ TensorMap x, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED(bf16, tile, [kBox]);
  METVOX_SHARED(uint64_t, full, );
  prepare(&full);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, kBoxBytes);
    tma_load<2>(tile, x, &full, {0, 0});  // bug: issuer_reads_its_own_copy
    if (right) mbarrier_wait(&full, 0);
    y[0] = to_float(tile[0]);  // bug: issuer_reads_its_own_copy
  }
#endif
}
METVOX_HOPPER_BUG(issuer_reads_its_own_copy, "race \\(read after write\\) on shared `tile`");

// What such a load writes to is the next block's by then.
template <bool right>
__global__ void load_never_waited(const __grid_constant__ TensorMap x, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED(bf16, tile, [kBox]);
  METVOX_SHARED(uint64_t, full, );
  prepare(&full);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, kBoxBytes);
    tma_load<2>(tile, x, &full, {0, 0});  // bug: load_never_waited
    if (right) mbarrier_wait(&full, 0);
  }
  y[threadIdx.x] = 0.f;
#endif
}
METVOX_HOPPER_BUG(load_never_waited, "the block ended with TMA loads that nobody waited for");

template <bool right>
__global__ void expects_too_much(const __grid_constant__ TensorMap x, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED(bf16, tile, [kBox]);
  METVOX_SHARED(uint64_t, full, );
  prepare(&full);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, right ? kBoxBytes : kBoxBytes + 16);
    tma_load<2>(tile, x, &full, {0, 0});
  }
  mbarrier_wait(&full, 0);  // bug: expects_too_much
  y[threadIdx.x] = to_float(tile[threadIdx.x]);
#endif
}
METVOX_HOPPER_BUG(expects_too_much, "deadlock: no thread can run");

template <bool right>
__global__ void waits_for_the_wrong_parity(const __grid_constant__ TensorMap x, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED(bf16, tile, [kBox]);
  METVOX_SHARED(uint64_t, full, );
  prepare(&full);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, kBoxBytes);
    tma_load<2>(tile, x, &full, {0, 0});  // bug: waits_for_the_wrong_parity
  }
  mbarrier_wait(&full, right ? 0 : 1);
  y[threadIdx.x] = to_float(tile[threadIdx.x]);  // bug: waits_for_the_wrong_parity
  __syncthreads();
  mbarrier_wait(&full, 0);
#endif
}
METVOX_HOPPER_BUG(waits_for_the_wrong_parity, "race .* on shared `tile`");

template <bool right>
__global__ void mbarrier_seen_too_early(const __grid_constant__ TensorMap x, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED(bf16, tile, [kBox]);
  METVOX_SHARED(uint64_t, full, );
  prepare(&full, right);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, kBoxBytes);
    tma_load<2>(tile, x, &full, {0, 0});
  }
  mbarrier_wait(&full, 0);  // bug: mbarrier_seen_too_early
  y[threadIdx.x] = to_float(tile[threadIdx.x]);
#endif
}
METVOX_HOPPER_BUG(mbarrier_seen_too_early, "race .* on shared `full`");

template <bool right>
__global__ void warpgroup_parts(const __grid_constant__ TensorMap, float* y) {
#if METVOX_HOPPER
  METVOX_SHARED(bf16, operand, [2 * kBox]);
  for (int i = threadIdx.x; i < 2 * kBox; i += 128) operand[i] = from_float<bf16>(1.f);
  fence_proxy_async();
  __syncthreads();
  float d[16] = {};
  const uint64_t cores = descriptor_cores(operand, kBoxBytes, 128);
  wgmma_fence(d);
  if (right || threadIdx.x < 64) wgmma<bf16, 32>(d, cores, cores);  // bug: warpgroup_parts
  else wgmma<bf16, 32>(d, cores, cores);                            // bug: warpgroup_parts
  wgmma_commit();
  wgmma_wait<0>(d);
  y[threadIdx.x] = d[0];
#endif
}
METVOX_HOPPER_BUG(warpgroup_parts, "divergent warpgroup");

}  // namespace
}  // namespace metvox::METVOX_KERNEL_NS
