// SPDX-License-Identifier: Apache-2.0
// dw[m][c][tap] = sum over pixels of dy[pixel][m] * source[voxel of pixel, tap][c]: the gradient of a convolution's
// weights. pixel_gemm.cu has the kernel.
#pragma once
#include "kernels/cuda/implicit_gemm.h"
#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox::METVOX_KERNEL_NS {

struct PixelProblem {
  DType dtype = DType::f32;
  bool tf32 = false;      // may factors be rounded?
  int64_t m = 0;          // channels of dy
  int64_t c[2] = {0, 0};  // channels of the sources
  Taps taps{};            // whose rows are the pixels, in the order of dy
};

class PixelGemm {
 public:
  explicit PixelGemm(const PixelProblem& p);
  size_t scratch_bytes() const;
  void run(Stream&, const void* x, const void* x2, const void* dy, float* dw, Grad, void* scratch) const;

 private:
  PixelProblem p_;
  int tile_m_;
  int64_t tiles_m_, tiles_n_, splits_;
};

// sums[c] = sum of the rows of x, channels fastest: the gradient of a bias.
class ChannelSums {
 public:
  ChannelSums(DType dtype, int64_t rows, int64_t channels);
  size_t scratch_bytes() const;
  void run(Stream&, const void* x, float* sums, Grad, void* scratch) const;

 private:
  DType dtype_;
  int64_t rows_, channels_, chunks_;
};

}  // namespace metvox::METVOX_KERNEL_NS
