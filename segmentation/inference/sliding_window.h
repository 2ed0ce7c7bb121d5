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

// Importance of the voxels of a window, (z, y, x): a Gaussian around patch / 2 with sigma patch / 8, 10 at its peak, as
// nnU-Net keeps it: rounded to f16, and the smallest value above zero where that gives zero. Far from the centre the
// rounding decides how windows blend, so it is part of what a model was evaluated with.
std::vector<float> window_weights(const Int3& patch);

// The mean over a window's mirror images, f32 (R, D, H, W) in the volume's order, for sums that are rounded only once a
// window.
class WindowMean {
 public:
  WindowMean(Stream&, int64_t heads, const Int3& patch, Device device = {});
  // += share * y mirrored back, y (1, R, D, H, W), channels last.
  void add(Stream&, View y, int flips, float share);

 private:
  friend class SlidingWindows;
  Tensor sum_, ones_;
};

// The windows of one case. A case smaller than the patch is padded with zeros on both sides, the odd voxel behind it.
// Blending sums weighted answers; finish() divides by the sums of the weights, which it works out row by row, so that
// no volume of them is kept. Volumes and windows lie on the device.
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
  // The same of all mirror images at once, to logits that may also be f16; the mean begins anew.
  void blend(Stream&, WindowMean& mean, int64_t window, View logits) const;
  // After all windows, on the host: logits /= the sum of the weights at each voxel. With f16 logits that sum, too, is
  // rounded to f16 with every window.
  void finish(const Tensor& logits) const;

 private:
  struct Axis {
    int64_t size = 0, patch = 0;
    std::vector<int64_t> starts;  // in the case, below 0 where it is padded
    Axis(int64_t size, int64_t patch, double step_size);
  };
  Int3 place(int64_t window) const;  // index into starts along each axis
  WindowPlace window_place(int64_t window, int flips) const;
  template <class T>
  void divide(const Tensor& logits, T* x) const;
  std::array<Axis, 3> axes_;
  Tensor weights_, there_;  // of a window's voxels f32 (z, y, x), on the host and on the device
};

}  // namespace metvox
