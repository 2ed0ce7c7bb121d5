// SPDX-License-Identifier: Apache-2.0
// Planted bugs: barriers and warp functions that not all reach, and asynchronous copies used too early or refilled.
#include "kernels/cuda/ptx.h"
#include "tests/kernels/sim/bugs/bugs.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

template <bool right>
__global__ void barrier_in_both_arms(float* y) {
  if (right) __syncthreads();
  else if (threadIdx.x < 64) __syncthreads();  // bug: barrier_in_both_arms
  else __syncthreads();                        // bug: barrier_in_both_arms
  y[threadIdx.x] = 1.f;
}
METVOX_PLAIN_BUG(barrier_in_both_arms, "divergent barrier", 128, of.y());

template <bool right>
__global__ void barrier_against_shuffle(float* y) {
  float v = 1.f;
  if (!right && threadIdx.x < 16) __syncthreads();  // bug: barrier_against_shuffle
  else v = __shfl_xor_sync(~0u, v, 1);              // bug: barrier_against_shuffle
  y[threadIdx.x] = v;
}
METVOX_PLAIN_BUG(barrier_against_shuffle, "deadlock: no thread can run", 32, of.y());

template <bool right>
__global__ void mask_names_exited_lanes(float* y) {
  float v = 1.f;
  if (!right && threadIdx.x >= 16) return;
  v += __shfl_down_sync(~0u, v, 8);  // bug: mask_names_exited_lanes
  y[threadIdx.x] = v;
}
METVOX_PLAIN_BUG(mask_names_exited_lanes, "the mask names lanes that have exited|deadlock", 32, of.y());

template <bool right>
__global__ void shuffle_from_two_places(float* y) {
  float v = 1.f;
  if (right) v = __shfl_xor_sync(~0u, v, 1);
  else if (threadIdx.x < 16) v = __shfl_xor_sync(~0u, v, 1);  // bug: shuffle_from_two_places
  else v = __shfl_xor_sync(~0u, v, 1);                        // bug: shuffle_from_two_places
  y[threadIdx.x] = v;
}
METVOX_PLAIN_BUG(shuffle_from_two_places, "divergent warp collective", 32, of.y());

template <bool right>
__global__ void lane_outside_its_mask(float* y) {
  y[threadIdx.x] = __shfl_sync(right ? ~0u : 0xffffu, 1.f, 0);  // bug: lane_outside_its_mask
}
METVOX_PLAIN_BUG(lane_outside_its_mask, "the lane is not in its own mask", 32, of.y());

template <bool right>
__global__ void return_before_barrier(float* y) {
  if (!right && threadIdx.x >= 100) return;
  y[threadIdx.x] = 0.f;
  __syncthreads();  // bug: return_before_barrier
  y[threadIdx.x] = 1.f;
}
const RegisterBug return_bug("return_before_barrier", __FILE__, "exited while others wait at the barrier",
                             [](bool right) {
                               BugBuffers of;
                               Stream stream;
                               simt::options().strict_exit = true;
                               launch(right ? return_before_barrier<true> : return_before_barrier<false>, dim3(1),
                                      dim3(128), 0, stream, of.y());
                             });

template <bool right>
__global__ void copy_never_waited(float* y, const float* x) {
  METVOX_SHARED(float, s, [256]);
  cp_async16(s + 128 + threadIdx.x * 4, x + threadIdx.x * 4, true);  // bug: copy_never_waited
  cp_async_commit();
  if (right) cp_async_wait<0>();
  y[threadIdx.x] = 0.f;
}
METVOX_PLAIN_BUG(copy_never_waited,
                 "exited with cp.async copies that it never waited for, the first to shared `s` \\+ 512 bytes at .*:",
                 32, of.y(), of.x());

template <bool right>
__global__ void copy_read_before_wait(float* y, const float* x) {
  METVOX_SHARED(float, s, [128]);
  cp_async16(s + threadIdx.x * 4, x + threadIdx.x * 4, true);
  cp_async_commit();
  if (right) cp_async_wait<0>();
  y[threadIdx.x] = s[threadIdx.x * 4];  // bug: copy_read_before_wait
  if (!right) cp_async_wait<0>();
}
METVOX_BUG(copy_read_before_wait, "uninitialised read of shared `s`", 32, of.y(), of.x());

template <bool right>
__global__ void copy_without_barrier(float* y, const float* x) {
  METVOX_SHARED(float, s, [128]);
  cp_async16(s + threadIdx.x * 4, x + threadIdx.x * 4, true);
  cp_async_commit();
  cp_async_wait<0>();
  if (right) __syncthreads();
  y[threadIdx.x] = s[127 - threadIdx.x];  // bug: copy_without_barrier
}
METVOX_BUG(copy_without_barrier, "race .* on shared `s`", 32, of.y(), of.x());

// Two buffers: the copy of the next step goes where a slower thread still reads.
template <bool right>
__global__ void stage_refilled_early(float* y, const float* x) {
  METVOX_SHARED(float, stage, [2][32]);
  const int t = threadIdx.x;
  float sum = 0.f;
  const auto load = [&](int step) {
    if (t < 8) cp_async16(&stage[step % 2][t * 4], x + step * 32 + t * 4, true);  // bug: stage_refilled_early
    cp_async_commit();
  };
  load(0);
  for (int step = 0; step < 7; ++step) {
    load(step + 1);
    cp_async_wait<1>();
    __syncthreads();
    sum += stage[step % 2][t % 32];  // bug: stage_refilled_early
    if (right) __syncthreads();
  }
  cp_async_wait<0>();
  y[t] = sum;
}
METVOX_BUG(stage_refilled_early, "race .* on shared `stage`", 64, of.y(), of.x());

template <bool right>
__global__ void wait_leaves_one_too_many(float* y, const float* x) {
  METVOX_SHARED(float, stage, [2][128]);
  for (int s = 0; s < 2; ++s) {
    cp_async16(&stage[s][threadIdx.x * 4], x + threadIdx.x * 4, true);
    cp_async_commit();
  }
  if (right) cp_async_wait<0>();
  else cp_async_wait<1>();
  __syncthreads();
  y[threadIdx.x] = stage[1][threadIdx.x];  // bug: wait_leaves_one_too_many
  cp_async_wait<0>();
}
METVOX_BUG(wait_leaves_one_too_many, "race .* on shared `stage`", 32, of.y(), of.x());

// The operand of a tensor-core instruction that another warp has not finished writing.
template <bool right>
__global__ void ldmatrix_before_barrier(float* y) {
  METVOX_SHARED(bf16, tile, [16][24]);
  for (int i = threadIdx.x; i < 16 * 24; i += 64)
    tile[i / 24][i % 24] = from_float<bf16>(1.f);  // bug: ldmatrix_before_barrier
  if (right) __syncthreads();
  uint32_t a[4];
  ldmatrix_x4(a, &tile[threadIdx.x % 16][threadIdx.x / 16 % 2 * 8]);  // bug: ldmatrix_before_barrier
  y[threadIdx.x] = static_cast<float>(a[0]);
}
METVOX_BUG(ldmatrix_before_barrier, "race .* on shared `tile`", 64, of.y());

}  // namespace
}  // namespace metvox::METVOX_KERNEL_NS
