// SPDX-License-Identifier: Apache-2.0
// Hopper (sm_90a) behind wrappers: mbarriers, TMA loads (tiled and im2col), wgmma. For files named *_sm90a.cu, which
// are compiled for 90a alone; bodies that use these lie inside #if METVOX_HOPPER. The host executor emulates them
// (kernels/sim/hopper.h).
#pragma once
#include "kernels/cuda/ptx.h"
#include "tensor/shape.h"

#if defined(__CUDACC__)
#include <cuda.h>  // types only: nothing of the driver's library is linked
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define METVOX_HOPPER 1
#else
#define METVOX_HOPPER 0
#endif
// Dynamic shared memory as TMA with a 128-byte swizzle wants it.
#define METVOX_SHARED_DYN_1024(T, name)                                     \
  extern __shared__ __align__(1024) unsigned char metvox_shared_dyn_1024[]; \
  T* const name = reinterpret_cast<T*>(metvox_shared_dyn_1024)
#else
#include "kernels/sim/hopper.h"
#define METVOX_HOPPER (METVOX_ARCH >= 900)
#define METVOX_SHARED_DYN_1024(T, name) T* const name = static_cast<T*>(::simt::shared_dynamic(1024, #name))
#endif

namespace metvox::METVOX_KERNEL_NS {

#if defined(__CUDACC__)
using TensorMap = CUtensorMap;
#else
using TensorMap = sim::TensorMap;
#endif

// A tensor in device memory and the box of it that one load brings, innermost dimension first; the innermost stride is
// one element. Other strides and the base are multiples of 16 bytes, so are the box's innermost bytes; 128 of them at
// most with the swizzle, whose boxes lie at multiples of 1,024 bytes (128 without).
struct TensorTile {
  DType dtype;  // bf16, f16, f32
  void* base;
  int rank;  // 2 to 5
  uint64_t extent[5];
  uint64_t stride_bytes[5];  // of dimensions 1 and up; [0] is not read
  uint32_t box[5];
  bool swizzle_128;
};
TensorMap make_tensor_map(const TensorTile& tile);  // kernels/cuda/tensor_map.cu

// A channels-last image in device memory as the matrix of a convolution, one tap at a time: a row is a place of the
// kernel (w fastest, then h, d, n), a column a channel. The tap at (0, 0, 0) visits the voxels from `lower` on, every
// `step`-th, up to extent - 1 + `upper`. One load brings `pixels` rows x `channels` columns, zeros where a tap or a
// channel lies outside of the image and behind the last sample; rows of 128 bytes under the swizzle.
struct Im2colTile {
  DType dtype;  // bf16, f16
  void* base;   // of (n, d, h, w, c), a multiple of 16 bytes; so are the bytes of c
  int64_t n, c;
  Int3 extent, lower, upper, step;  // d, h, w; corners from -16 to 15, steps from 1 to 8
  uint32_t channels, pixels;        // 128 bytes, at most 1,024
};
TensorMap make_im2col_map(const Im2colTile& tile);

// 64-bit descriptors of wgmma operands in shared memory.
constexpr uint64_t descriptor_bits(uint32_t address, uint32_t leading_bytes, uint32_t stride_bytes, uint32_t swizzle) {
  return uint64_t{(address & 0x3FFFF) >> 4} | uint64_t{leading_bytes >> 4} << 16 | uint64_t{stride_bytes >> 4} << 32 |
         uint64_t{swizzle} << 62;
}
enum class Major { k = 0, mn = 1 };  // which neighbours lie side by side in an operand; the numbers are the PTX's

#if defined(__CUDACC__)

#if METVOX_HOPPER
METVOX_DEVICE void mbarrier_init(uint64_t* barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
// After mbarrier_init, before the barrier that lets other threads use it.
METVOX_DEVICE void fence_mbarrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
METVOX_DEVICE void mbarrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
// Arrives, and announces bytes of loads that the phase then waits for.
METVOX_DEVICE void mbarrier_arrive_expect(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}
// Until the phase of that parity (0, 1, 0, ... from the first) is complete.
METVOX_DEVICE void mbarrier_wait(uint64_t* barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}
// Between ordinary stores to shared memory and TMA or wgmma that read them: by the threads that stored, before a
// barrier.
METVOX_DEVICE void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// The box at these coordinates (elements, may lie outside: zeros), to dst; its bytes arrive at the barrier.
#define METVOX_TMA(RANK, COORDINATES, ...)                                                           \
  asm volatile("cp.async.bulk.tensor." #RANK                                                         \
               "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {" COORDINATES \
               "}], [%2];" ::"r"(shared_address(dst)),                                               \
               "l"(&map), "r"(shared_address(barrier)), __VA_ARGS__                                  \
               : "memory")
template <int kRank>
METVOX_DEVICE void tma_load(void* dst, const TensorMap& map, uint64_t* barrier, const int (&c)[kRank]) {
  static_assert(kRank >= 2 && kRank <= 5);
  if constexpr (kRank == 2) METVOX_TMA(2, "%3,%4", "r"(c[0]), "r"(c[1]));
  else if constexpr (kRank == 3) METVOX_TMA(3, "%3,%4,%5", "r"(c[0]), "r"(c[1]), "r"(c[2]));
  else if constexpr (kRank == 4) METVOX_TMA(4, "%3,%4,%5,%6", "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
  else METVOX_TMA(5, "%3,%4,%5,%6,%7", "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]), "r"(c[4]));
}
#undef METVOX_TMA

// Of a map for im2col: rows from the place where the kernel's first tap lies at voxel c = {channel, w, h, d, n}, read
// through the tap at (w, h, d), each below 32.
METVOX_DEVICE void tma_load_im2col(void* dst, const TensorMap& map, uint64_t* barrier, const int (&c)[5],
                                   const int (&tap)[3]) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%3,%4,%5,%6,%7}], [%2], {%8,%9,%10};" ::"r"(shared_address(dst)),
      "l"(&map), "r"(shared_address(barrier)), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]), "r"(c[4]),
      "h"(static_cast<uint16_t>(tap[0])), "h"(static_cast<uint16_t>(tap[1])), "h"(static_cast<uint16_t>(tap[2]))
      : "memory");
}

// Nothing but a place that the compiler moves no use of these registers across (arrays, in any number of dimensions):
// it does not know that products go on reading and writing them after the instruction that issues them.
template <class Registers>
METVOX_DEVICE void pin(Registers& r) {
  if constexpr (std::is_array_v<Registers>) {
#pragma unroll
    for (size_t i = 0; i < std::extent_v<Registers>; ++i) pin(r[i]);
  } else if constexpr (std::is_same_v<Registers, float>) {
    asm volatile("" : "+f"(r)::"memory");
  } else {
    asm volatile("" : "+r"(r)::"memory");
  }
}
template <class... Registers>
METVOX_DEVICE void wgmma_fence(Registers&... written) {
  (pin(written), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
METVOX_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N>
METVOX_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
template <int N, class Sums>
METVOX_DEVICE void wgmma_wait(Sums& sums) {
  wgmma_wait<N>();
  pin(sums);
}

// All warps of a warpgroup: N registers a thread (a multiple of 8) from now on, of those that the block was launched
// with; more are waited for until other warpgroups have given them up.
template <int N>
METVOX_DEVICE void more_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N>
METVOX_DEVICE void fewer_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
#endif

#else

METVOX_DEVICE void mbarrier_init(uint64_t* barrier, uint32_t arrivals) { simt::mbarrier_init(barrier, arrivals); }
METVOX_DEVICE void fence_mbarrier_init() {}
METVOX_DEVICE void mbarrier_arrive(uint64_t* barrier) { simt::mbarrier_arrive(barrier, 0); }
METVOX_DEVICE void mbarrier_arrive_expect(uint64_t* barrier, uint32_t bytes) { simt::mbarrier_arrive(barrier, bytes); }
METVOX_DEVICE void mbarrier_wait(uint64_t* barrier, uint32_t parity, simt::Site at = simt::Site::here()) {
  simt::mbarrier_wait(barrier, parity, at);
}
METVOX_DEVICE void fence_proxy_async() { simt::proxy_fence(); }
template <int kRank>
METVOX_DEVICE void tma_load(void* dst, const TensorMap& map, uint64_t* barrier, const int (&c)[kRank]) {
  static_assert(kRank >= 2 && kRank <= 5);
  simt::tma_load(dst, map, barrier, c, nullptr);
}
METVOX_DEVICE void tma_load_im2col(void* dst, const TensorMap& map, uint64_t* barrier, const int (&c)[5],
                                   const int (&tap)[3]) {
  simt::tma_load(dst, map, barrier, c, tap);
}
template <class... Registers>
METVOX_DEVICE void wgmma_fence(Registers&...) {}
METVOX_DEVICE void wgmma_commit(simt::Site at = simt::Site::here()) { simt::wgmma_commit(at); }
template <int N>
METVOX_DEVICE void wgmma_wait(simt::Site at = simt::Site::here()) {
  simt::wgmma_wait(N, nullptr, 0, at);
}
template <int N, class Sums>
METVOX_DEVICE void wgmma_wait(Sums& sums, simt::Site at = simt::Site::here()) {
  simt::wgmma_wait(N, &sums, sizeof sums, at);
}
template <int N>
METVOX_DEVICE void more_registers(simt::Site at = simt::Site::here()) {
  static_assert(N >= 24 && N <= 256 && N % 8 == 0);
  simt::more_registers(N, at);
}
template <int N>
METVOX_DEVICE void fewer_registers(simt::Site at = simt::Site::here()) {
  static_assert(N >= 24 && N <= 256 && N % 8 == 0);
  simt::fewer_registers(N, at);
}

#endif

#if METVOX_HOPPER
// Operand with rows of 128 bytes under the 128-byte swizzle, 8 rows each 1,024 bytes. Major::k: 64 neighbours along K a
// row, 16 more along K are 32 bytes further (add 2). Major::mn: 64 along M or N a row, rows are K; the next 64 lie
// block_bytes further.
METVOX_DEVICE uint64_t descriptor_128(const void* p, uint32_t block_bytes = 16) {
  return descriptor_bits(shared_address(p), block_bytes, 1024, 1);
}
// Operand without swizzle, of core matrices: 8 rows of 16 bytes, 128 bytes in one piece; a row is 8 neighbours along
// the major dimension. The next 8 along K lie k_bytes further, the next 8 along M or N mn_bytes further.
METVOX_DEVICE uint64_t descriptor_cores(const void* p, uint32_t k_bytes, uint32_t mn_bytes) {
  return descriptor_bits(shared_address(p), k_bytes, mn_bytes, 0);
}
#endif

}  // namespace metvox::METVOX_KERNEL_NS

#include "kernels/cuda/wgmma.h"
