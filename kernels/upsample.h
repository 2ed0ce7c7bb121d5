// SPDX-License-Identifier: Apache-2.0
// Trilinear upsampling by two along each axis.
//   x (N, C, D, H, W)   y (N, C, 2D, 2H, 2W), both in `dtype`; sums in float, or double for f64
// Output o of an axis of n voxels lies at s = max(0, (o + 0.5) / 2 - 0.5) of the input: weight 1 - t for voxel
// floor(s), t = s - floor(s) for the next one, the last voxel being its own next. Backward is the transpose in gather
// form: each input collects its at most 4 x 4 x 4 outputs in a fixed order, so any number of threads gives the same
// bits. Source: torch.nn.functional.interpolate, mode trilinear, align_corners false, scale factor 2.
#pragma once
#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox {

struct UpsampleProblem {
  int64_t n = 1, c = 1;
  Int3 in{};
  DType dtype = DType::f32;
  Device device{};

  Int3 out() const { return {2 * in[0], 2 * in[1], 2 * in[2]}; }
  Shape x_shape() const { return {n, c, in[0], in[1], in[2]}; }
  Shape y_shape() const { return {n, c, 2 * in[0], 2 * in[1], 2 * in[2]}; }
  std::string describe() const;  // "upsample n2 c32 24x24x24 f32"
  void validate() const;
  void check_views(View x, View y) const;
};

class Upsample {
 public:
  virtual ~Upsample() = default;
  virtual size_t scratch_bytes() const { return 0; }  // for either call
  virtual void forward(Stream&, View x, View y, void* scratch) const = 0;
  virtual void backward(Stream&, View dy, View dx, Grad, void* scratch) const = 0;  // every engine accumulates
};

using UpsampleTable = EngineTable<UpsampleProblem, Upsample>;
const UpsampleTable& upsample();

}  // namespace metvox
