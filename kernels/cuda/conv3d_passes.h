// SPDX-License-Identifier: Apache-2.0
// conv3d's forward and backward data as gathered products, for the engines that compute such: Gemm is GatherGemm, or a
// class like it.
#pragma once
#include <optional>
#include <string>

#include "kernels/conv3d.h"
#include "kernels/cuda/convolution.h"
#include "kernels/cuda/gather_gemm.h"

namespace metvox::METVOX_KERNEL_NS {

// What none of these engines can do; of the rest there is a product.
std::optional<std::string> conv3d_declines(const Conv3dProblem& p);
std::optional<std::string> conv3d_backward_data_declines(const Conv3dProblem& p);

GatherProblem conv3d_forward_product(const Conv3dProblem& p);
GatherProblem conv3d_backward_data_product(const Conv3dProblem& p);  // a part for each parity of the voxel

template <class Gemm>
class Conv3dForwardBy final : public Conv3dForward {
 public:
  explicit Conv3dForwardBy(const Conv3dProblem& p) : p_(p), gemm_(conv3d_forward_product(p)) {}
  size_t packed_bytes() const override { return gemm_.packed_bytes(); }
  size_t scratch_bytes() const override { return gemm_.scratch_bytes(); }

  void pack(Stream& stream, View w, View b, void* packed) const override {
    p_.check_weights(w, b);
    gemm_.pack(stream, w.as<float>(), p_.bias ? b.as<float>() : nullptr, packed);
  }

  void run(Stream& stream, View x, View x2, const void* packed, View y, void* scratch) const override {
    p_.check_activations(x, x2, y);
    gemm_.run(stream, x.data, x2.data, packed, {{y.data, nullptr}, {Grad::overwrite, Grad::ignore}}, scratch);
  }
  int64_t moment_chunks() const override { return p_.moments ? gemm_.moment_chunks() : 0; }
  void run_with_moments(Stream& stream, View x, View x2, const void* packed, View y, View moments,
                        void* scratch) const override {
    p_.check_activations(x, x2, y);
    p_.check_moments(moments, moment_chunks());
    gemm_.run(stream, x.data, x2.data, packed, {{y.data, nullptr}, {Grad::overwrite, Grad::ignore}, moments.data},
              scratch);
  }

 private:
  Conv3dProblem p_;
  Gemm gemm_;
};

template <class Gemm>
class Conv3dBackwardDataBy final : public Conv3dBackwardData {
 public:
  explicit Conv3dBackwardDataBy(const Conv3dProblem& p) : p_(p), gemm_(conv3d_backward_data_product(p)) {}
  size_t packed_bytes() const override { return gemm_.packed_bytes(); }
  size_t scratch_bytes() const override { return gemm_.scratch_bytes(); }
  bool accumulates() const override { return true; }

  void pack(Stream& stream, View w, void* packed) const override {
    p_.check_weights(w);
    gemm_.pack(stream, w.as<float>(), nullptr, packed);
  }

  void run(Stream& stream, View dy, const void* packed, View dx, Grad grad, View dx2, Grad grad2,
           void* scratch) const override {
    p_.check_activations(dx, dx2, dy);
    if (grad == Grad::ignore && grad2 == Grad::ignore) return;
    gemm_.run(stream, dy.data, nullptr, packed, {{dx.data, dx2.data}, {grad, grad2}}, scratch);
  }

 private:
  Conv3dProblem p_;
  Gemm gemm_;
};

}  // namespace metvox::METVOX_KERNEL_NS
