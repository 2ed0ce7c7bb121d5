// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/sliding_window.h"

#include <algorithm>
#include <cmath>

#include "tensor/threads.h"

namespace metvox {

namespace {

// Position in a mirrored window of what lies at i in the case's order.
int64_t mirrored(int64_t i, int64_t patch, bool flip) { return flip ? patch - 1 - i : i; }

}  // namespace

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

SlidingWindows::Axis::Axis(int64_t size_, int64_t patch_, double step_size)
    : size(size_), patch(patch_), starts(window_starts(std::max(size_, patch_), patch_, step_size)) {
  const std::vector<double> gaussian = gaussian_weights(patch);
  std::vector<double> sum(std::max(size, patch));
  for (int64_t start : starts)
    for (int64_t i = 0; i < patch; ++i) sum[start + i] += gaussian[i];
  for (int64_t& start : starts) {
    auto& w = weights.emplace_back(patch);
    for (int64_t i = 0; i < patch; ++i) w[i] = static_cast<float>(gaussian[i] / sum[start + i]);
    start -= std::max<int64_t>(0, patch - size) / 2;
  }
}

SlidingWindows::SlidingWindows(const Int3& size, const Int3& patch, double step_size)
    : axes_{{{size[0], patch[0], step_size}, {size[1], patch[1], step_size}, {size[2], patch[2], step_size}}} {}

std::array<int64_t, 3> SlidingWindows::place(int64_t window) const {
  const int64_t ny = static_cast<int64_t>(axes_[1].starts.size()), nx = static_cast<int64_t>(axes_[2].starts.size());
  return {window / (ny * nx), window / nx % ny, window % nx};
}

void SlidingWindows::cut(const Tensor& data, int64_t window, int flips, View x) const {
  const auto at = place(window);
  const Int3 start{axes_[0].starts[at[0]], axes_[1].starts[at[1]], axes_[2].starts[at[2]]};
  const int64_t C = data.shape()[0], D = axes_[0].patch, H = axes_[1].patch, W = axes_[2].patch;
  const int64_t nz = axes_[0].size, ny = axes_[1].size, nx = axes_[2].size;
  check(data.shape() == Shape{C, nz, ny, nx} && x.shape == Shape{1, C, D, H, W}, "SlidingWindows::cut: ", data.shape(),
        " to ", x.shape);
  const float* from = data.data<float>();
  float* to = x.as<float>();
  parallel_for(D * H, 64, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const int64_t z = start[0] + mirrored(row / H, D, flips & 1), y = start[1] + mirrored(row % H, H, flips & 2);
      float* line = to + row * W * C;
      std::fill(line, line + W * C, 0.f);
      if (z < 0 || z >= nz || y < 0 || y >= ny) continue;
      for (int64_t w = 0; w < W; ++w) {
        const int64_t p = start[2] + mirrored(w, W, flips & 4);
        if (p < 0 || p >= nx) continue;
        for (int64_t c = 0; c < C; ++c) line[w * C + c] = from[((c * nz + z) * ny + y) * nx + p];
      }
    }
  });
}

void SlidingWindows::blend(View y, int64_t window, int flips, float share, const Tensor& logits) const {
  const auto at = place(window);
  const Int3 start{axes_[0].starts[at[0]], axes_[1].starts[at[1]], axes_[2].starts[at[2]]};
  const int64_t R = logits.shape()[0], D = axes_[0].patch, H = axes_[1].patch, W = axes_[2].patch;
  const int64_t nz = axes_[0].size, ny = axes_[1].size, nx = axes_[2].size;
  check(logits.shape() == Shape{R, nz, ny, nx} && y.shape == Shape{1, R, D, H, W}, "SlidingWindows::blend: ", y.shape,
        " to ", logits.shape());
  const float* from = y.as<float>();
  float* to = logits.data<float>();
  const float *wz = axes_[0].weights[at[0]].data(), *wy = axes_[1].weights[at[1]].data(),
              *wx = axes_[2].weights[at[2]].data();
  parallel_for(D * H, 64, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const int64_t d = row / H, h = row % H, z = start[0] + d, v = start[1] + h;
      if (z < 0 || z >= nz || v < 0 || v >= ny) continue;
      const float weight = share * wz[d] * wy[h];
      const float* line = from + (mirrored(d, D, flips & 1) * H + mirrored(h, H, flips & 2)) * W * R;
      const int64_t w0 = std::max<int64_t>(0, -start[2]), w1 = std::min(W, nx - start[2]);
      for (int64_t r = 0; r < R; ++r) {
        float* out = to + ((r * nz + z) * ny + v) * nx + start[2];
        for (int64_t w = w0; w < w1; ++w) out[w] += weight * wx[w] * line[mirrored(w, W, flips & 4) * R + r];
      }
    }
  });
}

}  // namespace metvox
