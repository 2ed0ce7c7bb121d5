// SPDX-License-Identifier: Apache-2.0
// Sliding windows over a case: where they start, how they are cut out, and how their answers are blended
// (nnU-Net 2.8.1, inference/sliding_window_prediction.py).
#pragma once
#include <algorithm>
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
  static size_t bytes(int64_t heads, const Int3& patch) {
    return sizeof(float) * static_cast<size_t>((heads + 1) * volume(patch));
  }

 private:
  friend class SlidingWindows;
  Tensor sum_, ones_;
};

// The windows of one case. A case smaller than the patch is padded with zeros on both sides, the odd voxel behind it.
// Windows that begin on one plane are a layer; layers follow each other, so that planes before the next layer have got
// all they will get, and only as many need be kept as a window has. Blending sums weighted answers; finish() divides by
// the sums of the weights, which it works out row by row, so that no volume of them is kept. Volumes and windows lie on
// the device.
class SlidingWindows {
 public:
  // step_size in (0, 1]: throws Error (Fault::usage) otherwise.
  SlidingWindows(const Int3& size, const Int3& patch, double step_size, Device device = {});

  int64_t count() const { return layers() * windows_a_layer(); }
  int64_t layers() const { return static_cast<int64_t>(axes_[0].starts.size()); }
  int64_t windows_a_layer() const { return static_cast<int64_t>(axes_[1].starts.size() * axes_[2].starts.size()); }
  // Planes that windows after these layers do not touch.
  int64_t planes_done(int64_t layers) const;
  // Planes that must be kept while one layer after the other is blended.
  int64_t planes_kept() const { return std::min(axes_[0].size, axes_[0].patch); }

  // Cuts window out of data f32 (C, z, y, x) into x (1, C, D, H, W), channels last, mirrored along axis a where bit a
  // of `flips` is set.
  void cut(Stream&, View data, int64_t window, int flips, View x) const;
  // sums f32 (R, planes, y, x) += share * weight * y, y (1, R, D, H, W), channels last, mirrored back. Plane z of the
  // case is kept at z % planes, planes_kept() <= planes <= z's extent.
  void blend(Stream&, View y, int64_t window, int flips, float share, View sums) const;
  // The same of all mirror images at once, to sums that may also be f16; the mean begins anew.
  void blend(Stream&, WindowMean& mean, int64_t window, View sums) const;
  // After all windows that touch planes [first, last), on the host: divides them by the sum of the weights at each
  // voxel; with f16 sums that one, too, is rounded to f16 with every window. False where a quotient is not finite.
  bool finish(const Tensor& sums, int64_t first, int64_t last) const;

 private:
  struct Axis {
    int64_t size = 0, patch = 0;
    std::vector<int64_t> starts;  // in the case, below 0 where it is padded
    Axis(int64_t size, int64_t patch, double step_size);
  };
  Int3 place(int64_t window) const;  // index into starts along each axis
  WindowPlace window_place(int64_t window, int flips) const;
  template <class T>
  void sum_weights(int64_t z, int64_t y, std::vector<float>& row) const;
  template <class T>
  bool divide(const Tensor& sums, int64_t first, int64_t last) const;
  std::array<Axis, 3> axes_;
  Tensor weights_, there_;  // of a window's voxels f32 (z, y, x), on the host and on the device
};

}  // namespace metvox
