// SPDX-License-Identifier: Apache-2.0
// Sums of each channel of a channels-last image over all its voxels: the gradient of a bias.
#pragma once
#include "kernels/engine.h"
#include "tensor/tensor.h"
#include "tensor/threads.h"

namespace metvox::cpu {

// db (k), f32, from dy (voxels, k), f32 or bf16. Sums of some hundred terms in float, of these in double, in an order that
// depends on the number of threads at construction.
class ChannelSums {
 public:
  explicit ChannelSums(int64_t k) : k_(k), pieces_(threads()) {}
  size_t scratch_bytes() const { return static_cast<size_t>(pieces_) * bytes_a_piece(); }
  void operator()(const View& dy, const View& db, Grad grad, void* scratch) const;

 private:
  size_t bytes_a_piece() const;
  int64_t k_, pieces_;
};

}  // namespace metvox::cpu
