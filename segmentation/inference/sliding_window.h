// SPDX-License-Identifier: Apache-2.0
// Sliding windows over a case: where they start, how they are cut out, and how their answers are blended
// (nnU-Net 2.8.1, inference/sliding_window_prediction.py).
#pragma once
#include <array>
#include <vector>

#include "kernels/window.h"

namespace metvox {

// First voxels of the windows along one axis: they overlap by at least 1 - step_size of the patch and end flush. size
// >= patch.
std::vector<int64_t> window_starts(int64_t size, int64_t patch, double step_size);

// Importance of the voxels of a window along one axis: a Gaussian around patch / 2 with sigma patch / 8, 10 at its
// peak. The weight of a voxel is the product over the axes, over 100.
std::vector<double> gaussian_weights(int64_t patch);

// The windows of one case. A case smaller than the patch is padded with zeros on both sides, the odd voxel behind it.
// Since windows form a lattice and weights are products, the weights are divided by their sum along each axis in
// advance: blending is a sum, and no volume of weights is kept. Volumes and windows lie on the device.
class SlidingWindows {
 public:
  // step_size in (0, 1]: throws Error (Fault::usage) otherwise.
  SlidingWindows(const Int3& size, const Int3& patch, double step_size, Device device = {});

  int64_t count() const {
    return static_cast<int64_t>(axes_[0].starts.size() * axes_[1].starts.size() * axes_[2].starts.size());
  }
  // Cuts window out of data f32 (C, z, y, x) into x (1, C, D, H, W), channels last, mirrored along axis a where bit a
  // of `flips` is set.
  void cut(Stream&, View data, int64_t window, int flips, View x) const;
  // logits f32 (R, z, y, x) += share * weight * y, y (1, R, D, H, W), channels last, mirrored back.
  void blend(Stream&, View y, int64_t window, int flips, float share, View logits) const;

 private:
  struct Axis {
    int64_t size = 0, patch = 0;
    std::vector<int64_t> starts;  // in the case, below 0 where it is padded
    Tensor weights;               // f32 (starts, patch), summing to 1 at every voxel
    Axis(int64_t size, int64_t patch, double step_size, Device device);
  };
  Int3 place(int64_t window) const;  // index into starts along each axis
  WindowPlace window_place(int64_t window, int flips) const;
  std::array<Axis, 3> axes_;
};

}  // namespace metvox
