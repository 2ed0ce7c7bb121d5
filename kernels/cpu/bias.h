// SPDX-License-Identifier: Apache-2.0
// The bias of a channels-last image: added to all voxels, and its gradient, the sum over all voxels.
#pragma once
#include "kernels/engine.h"
#include "tensor/tensor.h"
#include "tensor/threads.h"

namespace metvox::cpu {

// db (k), f32, from dy (voxels, k), f32 or bf16. Sums of some hundred terms in float, of these in double, in an order
// that depends on the number of threads at construction.
class BiasGradient {
 public:
  explicit BiasGradient(int64_t k) : k_(k), pieces_(threads()) {}
  size_t scratch_bytes() const { return static_cast<size_t>(pieces_) * bytes_a_piece(); }
  void operator()(const View& dy, const View& db, Grad grad, void* scratch) const;

 private:
  size_t bytes_a_piece() const;
  int64_t k_, pieces_;
};

// y (voxels, k), f32 or bf16, plus b (k), f32, at every voxel. b comes side by side as often as fills a vector:
// repeat_bias() writes repeated_bias_size() floats.
int64_t repeated_bias_size(int64_t k);
void repeat_bias(const View& b, float* lanes);
void add_bias(const View& y, int64_t k, const float* lanes);

}  // namespace metvox::cpu
