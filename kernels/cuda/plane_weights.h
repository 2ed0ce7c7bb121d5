// SPDX-License-Identifier: Apache-2.0
// The gradient of the weights of 3x3x3 convolutions of stride 1 with few channels on Hopper. plane_weights_sm90a.cu has
// the kernel.
#pragma once
#include "kernels/cuda/kernel.h"
#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox::METVOX_KERNEL_NS {

class PlaneWeights {
 public:
  // bf16 or f16; c and k multiples of 16, c[1] may be 0.
  PlaneWeights(DType dtype, int64_t n, const Int3& extent, const int64_t (&c)[2], int64_t k);
  size_t scratch_bytes() const;
  void run(Stream&, View x, View x2, View dy, float* dw, Grad, void* scratch) const;

 private:
  int64_t items() const { return n_ * tiles_ * segments_; }

  DType dtype_;
  int64_t n_;
  Int3 extent_;
  int64_t c_[2], k_;
  int tile_c_, tile_k_;  // channels of a block
  int64_t tiles_, segments_, segment_,
      parts_;  // tiles of a plane; parts of the depth, planes of one; parts of the sums
};

}  // namespace metvox::METVOX_KERNEL_NS
