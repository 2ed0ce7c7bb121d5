// SPDX-License-Identifier: Apache-2.0
// Instance or group norm and leaky ReLU in one pass over the output.
//   h = (x - mean) / sqrt(variance + eps) * gamma + beta,   y = h > 0 ? h : slope * h
// mean and (biased) variance over D, H, W and the channels of a group, for each sample; over one element the variance
// is 0.
//   x, y (N, C, D, H, W) in `dtype`   gamma, beta (C) master type   saved: mean and 1/sqrt(variance + eps), (N, C, 2)
//   master type
// Statistics are merged from blocks about their own means, so a mean 1000 times the deviation costs no accuracy in y.
// slope 1 means no activation, slope 0 is ReLU. Bitwise repeatable for one engine and instruction set.
// Source: Ulyanov et al. 2016, Wu and He 2018; torch.nn.InstanceNorm3d without running statistics, torch.nn.GroupNorm.
#pragma once
#include "kernels/engine.h"
#include "kernels/moments.h"
#include "tensor/tensor.h"

namespace metvox {

struct NormActProblem {
  int64_t n = 1, c = 1;
  Int3 in{};
  double eps = 1e-5, slope = 0.01;
  DType dtype = DType::f32;
  int64_t groups = 0;  // of neighbouring channels; 0: each channel alone (instance norm)
  Device device{};
  int64_t moment_chunks = 0;  // forward() is given moments of x (kernels/moments.h) in so many; 0: it finds its own

  int64_t channels_per_group() const { return groups == 0 ? 1 : c / groups; }
  std::string describe() const;  // "norm_act n2 c32 48x48x48 groups 8 f32"
  DType master() const { return dtype == DType::f64 ? DType::f64 : DType::f32; }
  Shape x_shape() const { return {n, c, in[0], in[1], in[2]}; }
  Shape saved_shape() const { return {n, c, 2}; }
  void validate() const;
  void check_views(View x, View gamma, View beta, View y, View saved) const;
  void check_moments(View moments) const;
};

class NormAct {
 public:
  virtual ~NormAct() = default;
  virtual size_t forward_scratch_bytes() const { return 0; }
  virtual size_t backward_scratch_bytes() const { return 0; }
  // moments: of x, where the problem has some (an engine may find its own all the same). y may be x's own memory (where
  // no backward follows).
  virtual void forward(Stream&, View x, View moments, View gamma, View beta, View y, View saved,
                       void* scratch) const = 0;
  // dx as its Grad says (every engine accumulates; dx may be dy's own memory when overwritten); dgamma and dbeta
  // likewise, with one Grad for both. What is ignored may be an empty view.
  virtual void backward(Stream&, View x, View gamma, View beta, View saved, View dy, View dx, Grad, View dgamma,
                        View dbeta, Grad parameters, void* scratch) const = 0;
};

using NormActTable = EngineTable<NormActProblem, NormAct>;
const NormActTable& norm_act();

}  // namespace metvox
