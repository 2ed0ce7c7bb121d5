// SPDX-License-Identifier: Apache-2.0
// Engine `native_im2col` of conv3d's forward and backward data: many channels on sm_90 alone, by im2col_gemm.h. It has
// not run on hardware yet. Gradients of weights are other engines'.
#include "kernels/conv3d_engines.h"
#include "kernels/cuda/conv3d_passes.h"
#include "kernels/cuda/im2col_gemm.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

template <auto product, auto in_general>
std::optional<std::string> declines(const Conv3dProblem& p) {
  p.validate();
  if (auto reason = in_general(p)) return reason;
  if (device_arch(p.device) != 900) return "needs sm_90";
  return Im2colGemm::declines(product(p));
}

template <class Interface, class Kernel>
std::unique_ptr<Interface> made(const Conv3dProblem& p) {
  return std::make_unique<Kernel>(p);
}

}  // namespace

Engine<Conv3dProblem, Conv3dForward> conv3d_forward_native_im2col() {
  return {"native_im2col", kKernelDevice, declines<conv3d_forward_product, conv3d_declines>,
          made<Conv3dForward, Conv3dForwardBy<Im2colGemm>>};
}
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data_native_im2col() {
  return {"native_im2col", kKernelDevice, declines<conv3d_backward_data_product, conv3d_backward_data_declines>,
          made<Conv3dBackwardData, Conv3dBackwardDataBy<Im2colGemm>>};
}

}  // namespace metvox::METVOX_KERNEL_NS
