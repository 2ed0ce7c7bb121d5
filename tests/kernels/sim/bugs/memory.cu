// SPDX-License-Identifier: Apache-2.0
// Planted bugs: races, bounds, initialisation, alignment, in shared and device memory.
#include "kernels/cuda/kernel.h"
#include "tests/kernels/sim/bugs/bugs.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

template <bool right>
__global__ void read_after_write(float* y) {
  METVOX_SHARED(float, s, [256]);
  const int t = threadIdx.x;
  s[t] = static_cast<float>(t);  // bug: read_after_write
  if (right) __syncthreads();
  y[t] = s[255 - t];  // bug: read_after_write
}
METVOX_BUG(read_after_write, "race \\((read after write|write after read)\\) on shared `s`", 256, of.y());

template <bool right>
__global__ void write_after_read(float* y) {
  METVOX_SHARED(float, s, [256]);
  const int t = threadIdx.x;
  s[t] = static_cast<float>(t);
  __syncthreads();
  const float v = s[(t + 1) % 256];  // bug: write_after_read
  if (right) __syncthreads();
  s[t] = v;  // bug: write_after_read
  y[t] = s[t];
}
METVOX_BUG(write_after_read, "race \\((read after write|write after read)\\) on shared `s`", 256, of.y());

template <bool right>
__global__ void write_after_write(float* y) {
  METVOX_SHARED(float, largest, );
  if (right ? threadIdx.x == 0 : threadIdx.x % 32 == 0) largest = 1.f;  // bug: write_after_write
  __syncthreads();
  y[threadIdx.x] = largest;
}
METVOX_BUG(write_after_write, "race \\(write after write\\) on shared `largest`", 64, of.y());

template <bool right>
__global__ void missing_syncwarp(float* y) {
  METVOX_SHARED(float, s, [32]);
  const int lane = threadIdx.x;
  s[lane] = 1.f;
  __syncwarp();
  for (int d = 16; d > 0; d /= 2) {
    if (lane < d) s[lane] += s[lane + d];  // bug: missing_syncwarp
    if (right) __syncwarp();
  }
  if (lane == 0) y[0] = s[0];
}
METVOX_BUG(missing_syncwarp, "race .* on shared `s`", 32, of.y());

// A shuffle makes lanes meet; it does not order their memory.
template <bool right>
__global__ void shuffle_orders_nothing(float* y) {
  METVOX_SHARED(float, s, [32]);
  const int lane = threadIdx.x;
  s[lane] = 1.f;  // bug: shuffle_orders_nothing
  const float v = __shfl_xor_sync(~0u, 1.f, 1);
  if (right) __syncwarp();
  y[lane] = v + s[31 - lane];  // bug: shuffle_orders_nothing
}
METVOX_BUG(shuffle_orders_nothing, "race .* on shared `s`", 32, of.y());

template <bool right>
__global__ void shared_past_end(float* y) {
  METVOX_SHARED(float, s, [256]);
  const int t = threadIdx.x;
  s[right ? t : t + 1] = 1.f;  // bug: shared_past_end
  __syncthreads();
  y[t] = t ? s[t] : 0;
}
METVOX_BUG(shared_past_end, "out of bounds: shared `s` \\(1024 bytes\\) \\+ 1024 bytes", 256, of.y());

template <bool right>
__global__ void shared_before_begin(float* y) {
  METVOX_SHARED(float, table, [64]);
  float* p = table;
  const int t = threadIdx.x;
  p[right ? t : t - 1] = 1.f;  // bug: shared_before_begin
  y[threadIdx.x] = 0.f;
}
METVOX_BUG(shared_before_begin, "out of bounds: shared `table` \\(256 bytes\\) \\+ -4 bytes", 64, of.y());

// Inside of the variable, but in its next row.
template <bool right>
__global__ void shared_inner_index(float* y) {
  METVOX_SHARED(float, tile, [8][32]);
  const int row = threadIdx.x / 32, column = threadIdx.x % 32;
  if (row < 7) tile[row][right ? column : column + 1] = 1.f;  // bug: shared_inner_index
  y[threadIdx.x] = 0.f;
}
METVOX_BUG(shared_inner_index, "index 32 out of bounds of 'float \\[32\\]' in shared `tile`", 256, of.y());

template <bool right>
__global__ void dynamic_shared_past_end(float* y) {
  METVOX_SHARED_DYN(float, s);
  s[threadIdx.x] = 1.f;  // bug: dynamic_shared_past_end
  y[threadIdx.x] = s[threadIdx.x];
}
const RegisterBug dynamic_bug("dynamic_shared_past_end", __FILE__, "out of bounds: shared `s` \\(252 bytes\\)",
                              [](bool right) {
                                BugBuffers of;
                                Stream stream;
                                launch(right ? dynamic_shared_past_end<true> : dynamic_shared_past_end<false>, dim3(1),
                                       dim3(64), right ? 256 : 252, stream, of.y());
                              });

template <bool right>
__global__ void local_index(float* y, int n) {
  float v[4] = {};
  for (int i = 0; i < (right ? n : n + 1); ++i) v[(i * 5) % 7] += y[threadIdx.x];  // bug: local_index
  y[threadIdx.x] = v[0] + v[1] + v[2] + v[3];
}
METVOX_BUG(local_index, "index [456] out of bounds of 'float \\[4\\]'", 32, of.y(), right ? 1 : 2);

template <bool right>
__global__ void global_write_past_end(float* y) {
  y[right ? threadIdx.x : threadIdx.x + 1] = 1.f;  // bug: global_write_past_end
}
METVOX_BUG(global_write_past_end, "out of bounds: global `y` \\(1024 bytes\\) \\+ 1024 bytes", 256, of.y());

template <bool right>
__global__ void global_read_past_end(float* y, const float* x) {
  y[threadIdx.x] = x[right ? threadIdx.x : threadIdx.x + 4];  // bug: global_read_past_end
}
METVOX_BUG(global_read_past_end, "out of bounds: global `x` \\(1024 bytes\\) \\+ 10", 256, of.y(), of.x());

template <bool right>
__global__ void uninitialised_shared(float* y) {
  METVOX_SHARED(float, s, [256]);
  if (right || threadIdx.x < 255) s[threadIdx.x] = 0.f;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x] * 0.f;  // bug: uninitialised_shared
}
METVOX_BUG(uninitialised_shared, "uninitialised read of shared `s` \\+ 1020 bytes", 256, of.y());

template <bool right>
__global__ void uninitialised_global(float* y, float* fresh) {
  if (right) fresh[threadIdx.x] = 0.f;
  fresh[threadIdx.x] += 1.f;  // bug: uninitialised_global
  y[threadIdx.x] = 0.f;
}
METVOX_BUG(uninitialised_global, "uninitialised read of global `fresh` \\+ ", 256, of.y(), of.fresh());

template <bool right>
__global__ void misaligned_float4(float* y, const float* x) {
  const int first = right ? threadIdx.x * 4 : threadIdx.x;
  const float4 v = *reinterpret_cast<const float4*>(x + first);  // bug: misaligned_float4
  y[threadIdx.x] = v.x + v.y + v.z + v.w;
}
METVOX_BUG(misaligned_float4, "misaligned access to global `x` \\+ ", 32, of.y(), of.x());

template <bool right>
__global__ void misaligned_load16(float* y, const float* x) {
  const uint4 v = load16(x + (right ? threadIdx.x * 4 : threadIdx.x * 2));  // bug: misaligned_load16
  y[threadIdx.x] = static_cast<float>(v.x);
}
METVOX_BUG(misaligned_load16, "misaligned access to global `x` \\+ ", 32, of.y(), of.x());

template <bool right>
__global__ void blocks_race(float* y) {
  if (threadIdx.x > 0) return;
  if (right) atomicAdd(y, 1.f);
  else y[0] = y[0] + 1.f;  // bug: blocks_race
}
METVOX_BUG_IN_GRID(blocks_race, "race .* on global `y`", 16, 32, 0, of.y());

// The last block to finish adds up what the others left; without a fence it may not see it.
template <bool right>
__global__ void last_block(float* y, float* fresh, unsigned* ticket) {
  METVOX_SHARED(int, last, );
  if (threadIdx.x == 0) {
    fresh[blockIdx.x] = 1.f;  // bug: last_block
    if (right) __threadfence();
    last = atomicAdd(ticket, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && threadIdx.x < gridDim.x) y[threadIdx.x] = fresh[threadIdx.x];  // bug: last_block
}
METVOX_BUG_IN_GRID(last_block, "race \\(read after write\\) on global `fresh`", 20, 32, 0, of.y(), of.fresh(),
                   of.ticket());

template <bool right>
__global__ void atomic_against_read(float* y) {
  METVOX_SHARED(float, sum, );
  if (threadIdx.x == 0) sum = 0.f;
  __syncthreads();
  atomicAdd(&sum, 1.f);  // bug: atomic_against_read
  if (right) __syncthreads();
  y[threadIdx.x] = sum;  // bug: atomic_against_read
}
METVOX_BUG(atomic_against_read, "race .* on shared `sum`", 64, of.y());

template <bool right>
__global__ void host_pointer(float* y, const float* x) {
  y[threadIdx.x] = x[threadIdx.x];  // bug: host_pointer
}
METVOX_BUG(host_pointer, "host pointer, or far out of bounds", 32, of.y(), right ? of.x() : of.host());

template <bool right>
__global__ void anothers_local_memory(float* y) {
  METVOX_SHARED(float*, pointers, [32]);
  float mine = static_cast<float>(threadIdx.x);
  pointers[threadIdx.x] = &mine;
  __syncthreads();
  y[threadIdx.x] = *pointers[right ? threadIdx.x : 31 - threadIdx.x];  // bug: anothers_local_memory
}
METVOX_BUG(anothers_local_memory, "another thread's local memory", 32, of.y());

template <bool right>
__global__ void too_much_shared_memory(float* y) {
  y[threadIdx.x] = 1.f;
}
const RegisterBug too_much_bug("too_much_shared_memory", __FILE__,
                               "launch of .*shared memory above the 65536 bytes of sm_75", [](bool right) {
                                 BugBuffers of;
                                 Stream stream;
                                 const simt::Options before = simt::options();
                                 simt::options().arch = right ? 800 : 750;
                                 launch(right ? too_much_shared_memory<true> : too_much_shared_memory<false>, dim3(1),
                                        dim3(32), 70000, stream, of.y());
                                 simt::options() = before;
                               });

}  // namespace
}  // namespace metvox::METVOX_KERNEL_NS
