// SPDX-License-Identifier: Apache-2.0
// Functions that are compiled from a file of kernels/cuda twice: as ksim for the simulated GPU, as kgpu by nvcc. Their
// declarations stand once, in kernels/cuda/NAME.h; kernels/NAME.cpp leads to them by the stream's device:
//   METVOX_DEVICE_DECLARE(void fill(Stream&, View y, double value);)
//   void fill(Stream& stream, View y, double value) {
//     METVOX_ON_DEVICE(stream, fill(stream, y, value))
//     ...                                               // the CPU's side
#pragma once
#include "tensor/tensor.h"

#define METVOX_DEVICE_DECLARE(...) \
  namespace ksim {                 \
  __VA_ARGS__                      \
  }                                \
  namespace kgpu {                 \
  __VA_ARGS__                      \
  }

// METVOX_DEVICE_ENGINES(f): in a table of engines, those that the two make of f().
#if METVOX_CUDA
#define METVOX_DEVICE_ENGINES(function) kgpu::function(), ksim::function()
#define METVOX_KGPU(...) kgpu::__VA_ARGS__
#else
#define METVOX_DEVICE_ENGINES(function) ksim::function()
#define METVOX_KGPU(...) metvox::fail(metvox::Fault::usage, "this metvox was built without CUDA; use --device cpu")
#endif

// Returns from the calling function with the call made on a device other than the CPU.
#define METVOX_ON_DEVICE(stream, ...)                                 \
  switch ((stream).device().kind) {                                   \
    case metvox::Device::Kind::cpu: break;                            \
    case metvox::Device::Kind::sim: return ksim::__VA_ARGS__;         \
    case metvox::Device::Kind::cuda: return METVOX_KGPU(__VA_ARGS__); \
  }
