// SPDX-License-Identifier: Apache-2.0
// What both convolutions' native engines decline.
#pragma once
#include <optional>
#include <string>

#include "kernels/cuda/implicit_gemm.h"
#include "kernels/engine.h"

namespace metvox::METVOX_KERNEL_NS {

// `voxels` is the larger of the input's and the output's, batch included.
inline std::optional<std::string> convolution_declines(Device device, DType dtype, bool tf32, const Int3& kernel,
                                                       int64_t voxels) {
  if (device.kind != kKernelDevice) return sentence("not for memory of ", name_of(device));
  if (dtype != DType::f32 && dtype != DType::bf16 && dtype != DType::f16)
    return sentence("no ", name_of(dtype), " on a GPU");
  if ((dtype == DType::bf16 || tf32) && device_arch(device) < 800)
    return sentence(precision_of(dtype, tf32), " needs sm_80");
  for (int64_t extent : kernel)
    if (extent > kMaxExtent) return sentence("kernels of at most ", kMaxExtent, " voxels along an axis");
  if (volume(kernel) > kMaxTaps) return sentence("kernels of at most ", kMaxTaps, " taps");
  if (voxels > int64_t{1} << 30) return "more than 2^30 voxels";
  return std::nullopt;
}

}  // namespace metvox::METVOX_KERNEL_NS
