// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/sliding_window.h"

#include <atomic>
#include <cmath>

#include "kernels/pointwise.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

// Channel r of (C, z, y, x), as (1, z, y, x).
View channel(View volume, int64_t r) {
  const Shape& n = volume.shape;
  const auto bytes = static_cast<int64_t>(size_of(volume.dtype));
  return {static_cast<char*>(volume.data) + r * n[1] * n[2] * n[3] * bytes,
          {1, n[1], n[2], n[3]},
          volume.dtype,
          volume.device};
}

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

std::vector<float> window_weights(const Int3& patch) {
  std::array<std::vector<double>, 3> along;
  for (size_t a = 0; a < 3; ++a)
    for (int64_t i = 0; i < patch[a]; ++i) {
      const double d = static_cast<double>(i - patch[a] / 2) * 8 / static_cast<double>(patch[a]);
      along[a].push_back(std::exp(-d * d / 2));
    }
  std::vector<float> weights;
  weights.reserve(static_cast<size_t>(volume(patch)));
  float least = 10;
  for (double z : along[0])
    for (double y : along[1])
      for (double x : along[2]) {
        weights.push_back(static_cast<float>(f16(static_cast<float>(10 * z * y * x))));
        if (weights.back() > 0) least = std::min(least, weights.back());
      }
  std::replace(weights.begin(), weights.end(), 0.f, least);
  return weights;
}

SlidingWindows::Axis::Axis(int64_t size_, int64_t patch_, double step_size)
    : size(size_), patch(patch_), starts(window_starts(std::max(size_, patch_), patch_, step_size)) {
  for (int64_t& start : starts) start -= std::max<int64_t>(0, patch - size) / 2;
}

SlidingWindows::SlidingWindows(const Int3& size, const Int3& patch, double step_size, Device device)
    : axes_{{{size[0], patch[0], step_size}, {size[1], patch[1], step_size}, {size[2], patch[2], step_size}}},
      weights_(Tensor::empty({patch[0], patch[1], patch[2]}, DType::f32)) {
  const std::vector<float> weights = window_weights(patch);
  std::copy(weights.begin(), weights.end(), weights_.data<float>());
  there_ = weights_.to(device);
}

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

void SlidingWindows::blend(Stream& stream, View y, int64_t window, int flips, float share, View sums) const {
  blend_window(stream, y, window_place(window, flips), {there_.view(), share}, sums);
}

WindowMean::WindowMean(Stream& stream, int64_t heads, const Int3& patch, Device device)
    : sum_(Tensor::zeros({heads, patch[0], patch[1], patch[2]}, DType::f32, device, "window")),
      ones_(Tensor::empty({patch[0], patch[1], patch[2]}, DType::f32, device, "ones")) {
  fill(stream, ones_.view(), 1);
}

void WindowMean::add(Stream& stream, View y, int flips, float share) {
  const Shape& n = sum_.shape();
  const Int3 patch{n[1], n[2], n[3]};
  blend_window(stream, y, {patch, patch, {}, flips}, {ones_.view(), share}, sum_.view());
}

void SlidingWindows::blend(Stream& stream, WindowMean& mean, int64_t window, View sums) const {
  for (int64_t r = 0; r < sums.shape[0]; ++r) {  // of one channel, channels first and channels last are the same
    View one = channel(mean.sum_.view(), r);
    one.shape = {1, 1, one.shape[1], one.shape[2], one.shape[3]};
    blend_window(stream, one, window_place(window, 0), {there_.view(), 1}, channel(sums, r));
  }
  fill_bytes(stream, mean.sum_.view(), 0);
}

int64_t SlidingWindows::planes_done(int64_t layers) const {
  return layers < this->layers() ? std::max<int64_t>(0, axes_[0].starts[layers]) : axes_[0].size;
}

template <class T>
void SlidingWindows::sum_weights(int64_t z, int64_t y, std::vector<float>& row) const {
  const int64_t H = axes_[1].patch, W = axes_[2].patch, nx = axes_[2].size;
  std::fill(row.begin(), row.end(), 0.f);
  for (int64_t z0 : axes_[0].starts)
    for (int64_t y0 : axes_[1].starts) {
      const int64_t d = z - z0, h = y - y0;
      if (d < 0 || d >= axes_[0].patch || h < 0 || h >= H) continue;
      const float* weight = weights_.data<float>() + (d * H + h) * W;
      for (int64_t start : axes_[2].starts)
        for (int64_t w = std::max<int64_t>(0, -start); w < std::min(W, nx - start); ++w)
          row[start + w] = static_cast<float>(static_cast<T>(row[start + w] + weight[w]));
    }
}

bool SlidingWindows::finish(const Tensor& sums, int64_t first, int64_t last) const {
  return sums.dtype() == DType::f16 ? divide<f16>(sums, first, last) : divide<float>(sums, first, last);
}

template <class T>
bool SlidingWindows::divide(const Tensor& sums, int64_t first, int64_t last) const {
  const int64_t R = sums.shape()[0], planes = sums.shape()[1], ny = axes_[1].size, nx = axes_[2].size;
  check(sums.shape() == Shape{R, planes, ny, nx} && first >= 0 && last <= axes_[0].size && last - first <= planes,
        "SlidingWindows::finish: planes ", first, " to ", last, " of ", sums.shape());
  T* x = sums.data<T>();
  std::atomic<bool> finite = true;
  parallel_for((last - first) * ny, 64, [&](int64_t first_row, int64_t last_row) {
    std::vector<float> weights(static_cast<size_t>(nx)), flaws(static_cast<size_t>(nx));
    for (int64_t i = first_row; i < last_row; ++i) {
      const int64_t z = first + i / ny, y = i % ny;
      sum_weights<T>(z, y, weights);
      for (int64_t r = 0; r < R; ++r) {
        T* row = x + ((r * planes + z % planes) * ny + y) * nx;
        for (int64_t k = 0; k < nx; ++k) {
          row[k] = static_cast<T>(static_cast<float>(row[k]) / weights[static_cast<size_t>(k)]);
          flaws[static_cast<size_t>(k)] += 0 * static_cast<float>(row[k]);  // stays 0 for finite values only
        }
      }
    }
    if (std::any_of(flaws.begin(), flaws.end(), [](float flaw) { return flaw != 0; })) finite = false;
  });
  return finite;
}

}  // namespace metvox
