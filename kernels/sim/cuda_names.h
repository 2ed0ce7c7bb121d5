// SPDX-License-Identifier: Apache-2.0
// CUDA's spellings for the executor: qualifiers, threadIdx, barriers, warp functions, atomics, intrinsics. Only what
// our kernels use; a name that is missing here is a compile error, and is added here.
#pragma once
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/sim/simt.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))  // so that a report finds the kernel's line
#define __launch_bounds__(...)
#define __grid_constant__

#define threadIdx (::simt::self().thread_index)
#define blockIdx (::simt::self().block_index)
#define blockDim (::simt::self().block_dim)
#define gridDim (::simt::self().grid_dim)
constexpr int warpSize = 32;

__forceinline__ void __syncthreads(simt::Site at = simt::Site::here()) { simt::barrier(0, 0, at); }
__forceinline__ int __syncthreads_count(int p, simt::Site at = simt::Site::here()) {
  return simt::barrier_reduce(simt::Reduce::count, p, at);
}
__forceinline__ int __syncthreads_or(int p, simt::Site at = simt::Site::here()) {
  return simt::barrier_reduce(simt::Reduce::any, p, at);
}
__forceinline__ int __syncthreads_and(int p, simt::Site at = simt::Site::here()) {
  return simt::barrier_reduce(simt::Reduce::all, p, at);
}
__forceinline__ void __syncwarp(unsigned mask = ~0u, simt::Site at = simt::Site::here()) {
  simt::warp_barrier(mask, at);
}

// Lanes of one segment of `width` lanes: a source outside of it means the lane's own value.
template <class T>
__forceinline__ T __shfl_sync(unsigned mask, T value, int source, int width = 32, simt::Site at = simt::Site::here()) {
  const int lane = static_cast<int>(simt::self().lane);
  simt::warp_shuffle("__shfl_sync", mask, &value, sizeof value, (lane & -width) + (source & (width - 1)), at);
  return value;
}
template <class T>
__forceinline__ T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                                  simt::Site at = simt::Site::here()) {
  const int lane = static_cast<int>(simt::self().lane), source = lane ^ bits;
  const bool inside = source < (lane & -width) + width;
  simt::warp_shuffle("__shfl_xor_sync", mask, &value, sizeof value, inside ? source : -1, at);
  return value;
}
template <class T>
__forceinline__ T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                                   simt::Site at = simt::Site::here()) {
  const int lane = static_cast<int>(simt::self().lane), source = lane + static_cast<int>(delta);
  const bool inside = source < (lane & -width) + width;
  simt::warp_shuffle("__shfl_down_sync", mask, &value, sizeof value, inside ? source : -1, at);
  return value;
}
template <class T>
__forceinline__ T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                                 simt::Site at = simt::Site::here()) {
  const int lane = static_cast<int>(simt::self().lane), source = lane - static_cast<int>(delta);
  const bool inside = source >= (lane & -width);
  simt::warp_shuffle("__shfl_up_sync", mask, &value, sizeof value, inside ? source : -1, at);
  return value;
}
__forceinline__ unsigned __ballot_sync(unsigned mask, int p, simt::Site at = simt::Site::here()) {
  return simt::warp_ballot("__ballot_sync", mask, p != 0, at);
}
__forceinline__ int __any_sync(unsigned mask, int p, simt::Site at = simt::Site::here()) {
  return simt::warp_ballot("__any_sync", mask, p != 0, at) != 0;
}
__forceinline__ int __all_sync(unsigned mask, int p, simt::Site at = simt::Site::here()) {
  return simt::warp_ballot("__all_sync", mask, p == 0, at) == 0;
}

namespace simt {
// old = *p; *p = f(old), as one event; returns old.
template <class T, class F>
__forceinline__ T atomic_update(T* p, F f) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  if constexpr (sizeof(T) == 4) {
    uint32_t old = atomic_load32(p);
    while (!atomic_replace32(p, old, std::bit_cast<uint32_t>(static_cast<T>(f(std::bit_cast<T>(old)))))) {
    }
    return std::bit_cast<T>(old);
  } else {
    uint64_t old = atomic_load64(p);
    while (!atomic_replace64(p, old, std::bit_cast<uint64_t>(static_cast<T>(f(std::bit_cast<T>(old)))))) {
    }
    return std::bit_cast<T>(old);
  }
}
}  // namespace simt
template <class T>
__forceinline__ T atomicAdd(T* p, std::type_identity_t<T> v) {
  return simt::atomic_update(p, [=](T old) { return old + v; });
}
template <class T>
__forceinline__ T atomicMax(T* p, std::type_identity_t<T> v) {
  return simt::atomic_update(p, [=](T old) { return old < v ? v : old; });
}
template <class T>
__forceinline__ T atomicMin(T* p, std::type_identity_t<T> v) {
  return simt::atomic_update(p, [=](T old) { return v < old ? v : old; });
}
template <class T>
__forceinline__ T atomicOr(T* p, std::type_identity_t<T> v) {
  return simt::atomic_update(p, [=](T old) { return old | v; });
}
template <class T>
__forceinline__ T atomicExch(T* p, std::type_identity_t<T> v) {
  return simt::atomic_update(p, [=](T) { return v; });
}
template <class T>
__forceinline__ T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  return simt::atomic_update(p, [=](T old) { return old == expected ? v : old; });
}
__forceinline__ void __threadfence() { simt::thread_fence(); }
inline void __threadfence_block() {}

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t{a} * b) >> 32); }
inline float __int_as_float(int i) { return std::bit_cast<float>(i); }
inline float __uint_as_float(unsigned i) { return std::bit_cast<float>(i); }
inline int __float_as_int(float f) { return std::bit_cast<int>(f); }
inline unsigned __float_as_uint(float f) { return std::bit_cast<unsigned>(f); }
template <class T>
__forceinline__ T __ldg(const T* p) {
  return *p;
}
template <class T>
requires std::is_arithmetic_v<T>
constexpr T min(T a, std::type_identity_t<T> b) { return b < a ? b : a; }
template <class T>
requires std::is_arithmetic_v<T>
constexpr T max(T a, std::type_identity_t<T> b) { return a < b ? b : a; }
[[noreturn]] inline void __trap() { simt::fail("__trap()"); }
