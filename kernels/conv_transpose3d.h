// SPDX-License-Identifier: Apache-2.0
// y = x up-sampled by a transposed convolution whose kernel equals its stride (no overlap, no padding), plus b.
//   x (N, C, D, H, W)   w (C, K, sd, sh, sw)   b (K) or nothing   y (N, K, D sd, H sh, W sw)
// Types, packing and repeatability as kernels/conv3d.h. Source: torch.nn.ConvTranspose3d with kernel_size == stride.
#pragma once
#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox {

struct ConvTranspose3dProblem {
  int64_t n = 1, c = 1, k = 1;
  Int3 in{}, stride{2, 2, 2};
  bool bias = true;
  DType dtype = DType::f32;
  Device device{};
  bool tf32 = false;  // as Conv3dProblem's

  Int3 out() const { return {in[0] * stride[0], in[1] * stride[1], in[2] * stride[2]}; }
  Shape x_shape() const { return {n, c, in[0], in[1], in[2]}; }
  Shape w_shape() const { return {c, k, stride[0], stride[1], stride[2]}; }
  Shape y_shape() const { return {n, k, in[0] * stride[0], in[1] * stride[1], in[2] * stride[2]}; }
  double flops() const;
  std::string describe() const;
  DType master() const { return dtype == DType::f64 ? DType::f64 : DType::f32; }
  void validate() const;  // throws Error, as do the checks of views that every engine makes:
  void check_weights(const View& w) const;
  void check_weights(const View& w, const View& b) const;
  void check_activations(const View& x, const View& y) const;
};

class ConvTranspose3dForward {
 public:
  virtual ~ConvTranspose3dForward() = default;
  virtual size_t packed_bytes() const { return 0; }
  virtual size_t scratch_bytes() const { return 0; }
  virtual void pack(Stream&, View w, View b, void* packed) const = 0;
  virtual void run(Stream&, View x, const void* packed, View y, void* scratch) const = 0;
};
class ConvTranspose3dBackwardData {
 public:
  virtual ~ConvTranspose3dBackwardData() = default;
  virtual size_t packed_bytes() const { return 0; }
  virtual size_t scratch_bytes() const { return 0; }
  virtual bool accumulates() const { return false; }
  virtual void pack(Stream&, View w, void* packed) const = 0;
  virtual void run(Stream&, View dy, const void* packed, View dx, Grad, void* scratch) const = 0;
};
class ConvTranspose3dBackwardWeights {
 public:
  virtual ~ConvTranspose3dBackwardWeights() = default;
  virtual size_t scratch_bytes() const { return 0; }
  virtual void run(Stream&, View x, View dy, View dw, View db, Grad, void* scratch) const = 0;
};

using ConvTranspose3dForwardTable = EngineTable<ConvTranspose3dProblem, ConvTranspose3dForward>;
using ConvTranspose3dBackwardDataTable = EngineTable<ConvTranspose3dProblem, ConvTranspose3dBackwardData>;
using ConvTranspose3dBackwardWeightsTable = EngineTable<ConvTranspose3dProblem, ConvTranspose3dBackwardWeights>;
const ConvTranspose3dForwardTable& conv_transpose3d_forward();
const ConvTranspose3dBackwardDataTable& conv_transpose3d_backward_data();
const ConvTranspose3dBackwardWeightsTable& conv_transpose3d_backward_weights();

}  // namespace metvox
