// SPDX-License-Identifier: Apache-2.0
// y = x convolved with w, plus b.
//   x (N, C, D, H, W), x2 (N, C2, D, H, W) or nothing: read as if concatenated behind x
//   w (K, C + C2, kd, kh, kw)   b (K) or nothing   y (N, K, D', H', W'),  D' = (D + 2 pad - kd) / stride + 1
// Activations channels-last in `dtype` (f64, f32, bf16); w, b and their gradients f32, or f64 with f64 activations.
// Sums at least in float. Bitwise repeatable for one engine, instruction set and thread count. Throws Error when an
// extent of y would be below 1. A kernel object serves one thread at a time. Source: cross-correlation as in Goodfellow
// et al., Deep Learning, 9.1.
#pragma once
#include "kernels/engine.h"
#include "kernels/moments.h"
#include "tensor/tensor.h"

namespace metvox {

struct Conv3dProblem {
  int64_t n = 1, c = 1, c2 = 0, k = 1;
  Int3 in{}, kernel{3, 3, 3}, stride{1, 1, 1}, pad{1, 1, 1};
  bool bias = false;
  DType dtype = DType::f32;
  Device device{};
  bool tf32 = false;     // may x, w and dy be rounded to tf32 (kernels/engine.h)? dtype is f32 then
  bool moments = false;  // does a norm follow, which takes moments of y (kernels/moments.h) where they are given?

  Int3 out() const;
  Shape x_shape() const { return {n, c, in[0], in[1], in[2]}; }
  Shape x2_shape() const { return {n, c2, in[0], in[1], in[2]}; }
  Shape w_shape() const { return {k, c + c2, kernel[0], kernel[1], kernel[2]}; }
  Shape y_shape() const;
  double flops() const;          // of one pass: two a multiply-add, padding counted
  std::string describe() const;  // "conv3d n2 c16 k32 in48x48x48 k3x3x3 s2x2x2 f32"
  DType master() const { return dtype == DType::f64 ? DType::f64 : DType::f32; }
  void validate() const;  // throws Error, as do the checks of views that every engine makes:
  void check_weights(const View& w) const;
  void check_weights(const View& w, const View& b) const;
  void check_activations(const View& x, const View& x2, const View& y) const;
  void check_moments(const View& moments, int64_t chunks) const;
};

// The three passes. Weights are packed once per version of the weights, into packed_bytes() of 64-byte aligned memory
// that the caller keeps; scratch is 64-byte aligned memory for the time of the call.
class Conv3dForward {
 public:
  virtual ~Conv3dForward() = default;
  virtual size_t packed_bytes() const { return 0; }
  virtual size_t scratch_bytes() const { return 0; }
  virtual void pack(Stream&, View w, View b, void* packed) const = 0;
  virtual void run(Stream&, View x, View x2, const void* packed, View y, void* scratch) const = 0;
  // Where the problem asks for moments of y: the chunks of a channel that this kernel can give; 0: it gives none.
  virtual int64_t moment_chunks() const { return 0; }
  // run(), and the moments (N, K, chunks, 4) of what it wrote; of kernels that give some.
  virtual void run_with_moments(Stream&, View x, View x2, const void* packed, View y, View moments,
                                void* scratch) const;
};
class Conv3dBackwardData {
 public:
  virtual ~Conv3dBackwardData() = default;
  virtual size_t packed_bytes() const { return 0; }
  virtual size_t scratch_bytes() const { return 0; }
  virtual bool accumulates() const { return false; }  // does run() take Grad::accumulate?
  virtual void pack(Stream&, View w, void* packed) const = 0;
  // dx and dx2 as their Grad says; ignored ones may be empty views.
  virtual void run(Stream&, View dy, const void* packed, View dx, Grad, View dx2, Grad, void* scratch) const = 0;
};
class Conv3dBackwardWeights {
 public:
  virtual ~Conv3dBackwardWeights() = default;
  virtual size_t scratch_bytes() const { return 0; }
  // dw (and db, where the problem has a bias) are overwritten or added to; every engine does both.
  virtual void run(Stream&, View x, View x2, View dy, View dw, View db, Grad, void* scratch) const = 0;
};

using Conv3dForwardTable = EngineTable<Conv3dProblem, Conv3dForward>;
using Conv3dBackwardDataTable = EngineTable<Conv3dProblem, Conv3dBackwardData>;
using Conv3dBackwardWeightsTable = EngineTable<Conv3dProblem, Conv3dBackwardWeights>;
const Conv3dForwardTable& conv3d_forward();
const Conv3dBackwardDataTable& conv3d_backward_data();
const Conv3dBackwardWeightsTable& conv3d_backward_weights();

}  // namespace metvox
