// SPDX-License-Identifier: Apache-2.0
// Instance norm and leaky ReLU in one pass over the output.
//   h = (x - mean) / sqrt(variance + eps) * gamma + beta,   y = h > 0 ? h : slope * h
// mean and (biased) variance over D, H, W for each sample and channel.
//   x, y (N, C, D, H, W) in `dtype`   gamma, beta (C) master type   saved: mean and 1/sqrt(variance + eps), (N, C, 2) master type
// Statistics are shifted or merged so that a mean 100 times the deviation costs no accuracy. slope 1 means no activation.
// Bitwise repeatable for one engine, instruction set and thread count.
// Source: Ulyanov et al. 2016; torch.nn.InstanceNorm3d without running statistics.
#pragma once
#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox {

struct NormActProblem {
  int64_t n = 1, c = 1;
  Int3 in{};
  double eps = 1e-5, slope = 0.01;
  DType dtype = DType::f32;
  std::string describe() const;
  DType master() const { return dtype == DType::f64 ? DType::f64 : DType::f32; }
};

class NormAct {
 public:
  virtual ~NormAct() = default;
  virtual size_t forward_scratch_bytes() const { return 0; }
  virtual size_t backward_scratch_bytes() const { return 0; }
  virtual void forward(Stream&, View x, View gamma, View beta, View y, View saved, void* scratch) const = 0;
  // dx as its Grad says (every engine accumulates; dx may be dy's own memory when overwritten); dgamma and dbeta likewise,
  // with one Grad for both.
  virtual void backward(Stream&, View x, View gamma, View beta, View saved, View dy, View dx, Grad, View dgamma, View dbeta,
                        Grad parameters, void* scratch) const = 0;
};

using NormActTable = EngineTable<NormActProblem, NormAct>;
const NormActTable& norm_act();

}  // namespace metvox
