// SPDX-License-Identifier: Apache-2.0
// Single elements of a convolution's results, each by its definition and in double: what kernels are compared with when
// they are tried out on problems too large to compute in full. The data is noise that needs no memory here.
#pragma once
#include <vector>

#include "kernels/conv3d.h"

namespace metvox {

// Numbers in [-1, 1) that a type holds, by index; they start again after a prime number of them.
class Noise {
 public:
  Noise(uint64_t seed, DType rounded_to);
  double operator[](int64_t i) const { return values_[static_cast<size_t>(i) % kPeriod]; }
  // A new tensor of them, in memory order, on the stream's device.
  Tensor tensor(Stream&, const Shape&, DType) const;

 private:
  static constexpr size_t kPeriod = 131'071;
  std::vector<float> values_;
};

// Of one column of noise written row by row: the gradient of a bias.
double column_sum(const Noise&, int64_t rows, int64_t columns, int64_t column);

// Positions in memory order: voxels of x and y with the batch, channels of x2 behind those of x.
class ConvolutionJudge {
 public:
  explicit ConvolutionJudge(const Conv3dProblem& p);
  const Noise& x() const { return x_; }
  const Noise& x2() const { return x2_; }
  const Noise& w() const { return w_; }
  const Noise& b() const { return b_; }
  const Noise& y() const { return y_; }  // or its gradient

  double forward(int64_t voxel, int64_t k) const;  // without the bias
  double backward_data(int64_t voxel, int64_t c) const;
  double backward_weights(int64_t index_in_w) const;

 private:
  double input(int64_t voxel, int64_t c) const;
  double weight(int64_t k, int64_t c, int64_t tap) const;
  Conv3dProblem p_;
  Int3 out_;
  Noise x_, x2_, w_, b_, y_;
};

}  // namespace metvox
