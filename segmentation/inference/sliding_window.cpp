// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/sliding_window.h"

#include <algorithm>
#include <cmath>

namespace metvox {

std::vector<int64_t> window_starts(int64_t size, int64_t patch, double step_size) {
  check(size >= patch && patch > 0, "window_starts: ", size, " voxels are fewer than the patch's ", patch);
  const double room = static_cast<double>(size - patch), step = static_cast<double>(patch) * step_size;
  // A patch of one voxel (2-D) visits every slice once.
  const int64_t steps = patch == 1 ? size - 1 : static_cast<int64_t>(std::ceil(room / step));
  std::vector<int64_t> starts{0};
  for (int64_t i = 1; i <= steps; ++i)
    starts.push_back(std::llrint(room / static_cast<double>(steps) * static_cast<double>(i)));
  return starts;
}

std::vector<double> gaussian_weights(int64_t patch) {
  std::vector<double> weights(patch);
  const double sigma = static_cast<double>(patch) / 8;
  for (int64_t i = 0; i < patch; ++i) {
    const double d = static_cast<double>(i - patch / 2) / sigma;
    weights[i] = 10 * std::exp(-d * d / 2);
  }
  return weights;
}

SlidingWindows::Axis::Axis(int64_t size_, int64_t patch_, double step_size, Device device)
    : size(size_), patch(patch_), starts(window_starts(std::max(size_, patch_), patch_, step_size)) {
  const std::vector<double> gaussian = gaussian_weights(patch);
  std::vector<double> sum(std::max(size, patch));
  for (int64_t start : starts)
    for (int64_t i = 0; i < patch; ++i) sum[start + i] += gaussian[i];
  const Tensor host = Tensor::empty({static_cast<int64_t>(starts.size()), patch}, DType::f32);
  float* w = host.data<float>();
  for (int64_t& start : starts) {
    for (int64_t i = 0; i < patch; ++i) *w++ = static_cast<float>(gaussian[i] / sum[start + i]);
    start -= std::max<int64_t>(0, patch - size) / 2;
  }
  weights = host.to(device);
}

SlidingWindows::SlidingWindows(const Int3& size, const Int3& patch, double step_size, Device device)
    : axes_{{{size[0], patch[0], step_size, device},
             {size[1], patch[1], step_size, device},
             {size[2], patch[2], step_size, device}}} {}

Int3 SlidingWindows::place(int64_t window) const {
  const int64_t ny = static_cast<int64_t>(axes_[1].starts.size()), nx = static_cast<int64_t>(axes_[2].starts.size());
  return {window / (ny * nx), window / nx % ny, window % nx};
}

WindowPlace SlidingWindows::window_place(int64_t window, int flips) const {
  const Int3 at = place(window);
  WindowPlace p{{}, {}, {}, flips};
  for (size_t a = 0; a < 3; ++a)
    p.size[a] = axes_[a].size, p.patch[a] = axes_[a].patch, p.start[a] = axes_[a].starts[at[a]];
  return p;
}

void SlidingWindows::cut(Stream& stream, View data, int64_t window, int flips, View x) const {
  cut_window(stream, data, window_place(window, flips), x);
}

void SlidingWindows::blend(Stream& stream, View y, int64_t window, int flips, float share, View logits) const {
  const Int3 at = place(window);
  const auto weights = [&](int a) { return axes_[a].weights.slice(at[a], 1).view(); };
  blend_window(stream, y, window_place(window, flips), {weights(0), weights(1), weights(2), share}, logits);
}

}  // namespace metvox
