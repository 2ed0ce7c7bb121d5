// SPDX-License-Identifier: Apache-2.0
// The one header that a kernel file includes. nvcc compiles the file for the GPU, with its code in namespace kgpu; a
// plain C++ compiler compiles the same file for the host executor (kernels/sim), in ksim. Both link into one program.
// A kernel writes __global__, threadIdx, __syncthreads() as in any CUDA file; shared memory only as
// METVOX_SHARED(float, tile, [32][33]), so that the executor knows its bounds and name; launches only with launch().
#pragma once
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/error.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define METVOX_KERNEL_NS kgpu
#if defined(__CUDA_ARCH__)
#define METVOX_ARCH __CUDA_ARCH__
#else
#define METVOX_ARCH 0
#endif
#define METVOX_SHARED(T, name, ...) __shared__ __align__(16) T name __VA_ARGS__
#define METVOX_SHARED_DYN(T, name)                                   \
  extern __shared__ __align__(16) unsigned char metvox_shared_dyn[]; \
  T* const name = reinterpret_cast<T*>(metvox_shared_dyn)

#else
#include "kernels/sim/cuda_names.h"

#define METVOX_KERNEL_NS ksim
#if !defined(SIMT_ARCH)
#define SIMT_ARCH 900
#endif
#define METVOX_ARCH SIMT_ARCH
#define METVOX_SHARED(T, name, ...)                             \
  static const char name##_key = 0;                             \
  auto& name = *static_cast<std::add_pointer_t<T __VA_ARGS__>>( \
      ::simt::shared_static(&name##_key, sizeof(T __VA_ARGS__), alignof(T), #name))
#define METVOX_SHARED_DYN(T, name) T* const name = static_cast<T*>(::simt::shared_dynamic(16, #name))
#endif

#define METVOX_DEVICE __device__ __forceinline__

namespace metvox::METVOX_KERNEL_NS {

#if defined(__CUDACC__)
inline constexpr Device::Kind kKernelDevice = Device::Kind::cuda;
#else
inline constexpr Device::Kind kKernelDevice = Device::Kind::sim;
#endif

// ---- numbers: stored as f32, bf16 or f16, computed as float ----

template <class To, class From>
METVOX_DEVICE To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

template <class T>
METVOX_DEVICE float to_float(T v) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<T, f16>) return __half2float(__ushort_as_half(v.bits));
#endif
  return static_cast<float>(v);
}

// Rounds to nearest, ties to even.
template <class T>
METVOX_DEVICE T from_float(float v) {
#if defined(__CUDA_ARCH__)
  if constexpr (!std::is_same_v<T, float>) {
    T t;
    if constexpr (std::is_same_v<T, bf16>) t.bits = __bfloat16_as_ushort(__float2bfloat16_rn(v));
    else t.bits = __half_as_ushort(__float2half_rn(v));
    return t;
  }
#endif
  return static_cast<T>(v);
}

// Two neighbours in one register, the first in the low half.
template <class T>
METVOX_DEVICE uint32_t pack(float first, float second) {
  return static_cast<uint32_t>(from_float<T>(first).bits) | static_cast<uint32_t>(from_float<T>(second).bits) << 16;
}
template <class T>
METVOX_DEVICE float2 unpack(uint32_t pair) {
  T first, second;
  first.bits = static_cast<uint16_t>(pair), second.bits = static_cast<uint16_t>(pair >> 16);
  return make_float2(to_float(first), to_float(second));
}

// 16 bytes as one access: 4 floats, 8 bf16 or f16. p is a multiple of 16.
METVOX_DEVICE uint4 load16(const void* p) {
#if !defined(__CUDACC__)
  simt::touch(p, 16, false);
#endif
  return *static_cast<const uint4*>(p);
}
METVOX_DEVICE void store16(void* p, uint4 v) {
#if !defined(__CUDACC__)
  simt::touch(p, 16, true);
#endif
  *static_cast<uint4*>(p) = v;
}

// ---- the host's side ----

#if defined(__CUDACC__)

inline void check_cuda(cudaError_t status, const char* doing, const void* kernel = nullptr) {
  if (status == cudaSuccess) return;
  const char* name = "";
  if (kernel && cudaFuncGetName(&name, kernel) != cudaSuccess) name = "a kernel";
  fail(status == cudaErrorMemoryAllocation ? Fault::memory : Fault::internal, doing, name, ": ",
       cudaGetErrorString(status), " (CUDA error ", static_cast<int>(status), ")");
}

// 10 times the compute capability of the stream's device: 800, 900, ...
inline int device_arch(Device device) {
  int major = 0, minor = 0;
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device.index), "device_arch");
  check_cuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device.index), "device_arch");
  return major * 100 + minor * 10;
}

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, Stream& stream, A&&... args) {
  const void* address = reinterpret_cast<const void*>(kernel);
  if (shared_bytes > 48 << 10)
    check_cuda(
        cudaFuncSetAttribute(address, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
        "shared memory of ", address);
  kernel<<<grid, block, shared_bytes, static_cast<cudaStream_t>(stream.handle())>>>(P(std::forward<A>(args))...);
  check_cuda(cudaGetLastError(), "launch of ", address);
}

#else

inline int device_arch(Device) { return simt::options().arch; }

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, Stream&, A&&... args) {
  struct Bound {
    void (*kernel)(P...);
    std::tuple<std::decay_t<P>...> args;
  };
  const Bound bound{kernel, {static_cast<std::decay_t<P>>(std::forward<A>(args))...}};
  const auto run = [](const void* p) {
    const auto& b = *static_cast<const Bound*>(p);
    std::apply(b.kernel, b.args);
  };
  simt::launch({grid, block, shared_bytes, reinterpret_cast<const void*>(kernel), run, &bound, sizeof bound});
}

#endif

}  // namespace metvox::METVOX_KERNEL_NS
