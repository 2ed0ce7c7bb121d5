// SPDX-License-Identifier: Apache-2.0
// Transforms that move voxels: rotation and scaling out of a window, mirroring.
#include <algorithm>
#include <cmath>

#include "segmentation/training/loops.h"
#include "segmentation/training/transforms.h"

namespace metvox {
namespace {

constexpr double kRotationProbability = 0.2, kScalingProbability = 0.2;
constexpr double kLowestScale = 0.7, kHighestScale = 1.4;

using Matrix = std::array<Double3, 3>;

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix c{};
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j)
      for (size_t k = 0; k < 3; ++k) c[i][j] += a[i][k] * b[k][j];
  return c;
}

// The voxels of the patch that lie in the case, as they are; the rest is 0 and -1.
void copy_centre(Patch& patch) {
  const Window& w = patch.source;
  Int3 first, low, high;  // of the patch in the case; the part of the patch that the case has
  for (size_t a = 0; a < 3; ++a) {
    first[a] = w.first[a] + w.extent[a] / 2 - patch.extent[a] / 2;
    low[a] = std::clamp<int64_t>(-first[a], 0, patch.extent[a]);
    high[a] = std::clamp<int64_t>(w.case_extent[a] - first[a], low[a], patch.extent[a]);
  }
  if (volume({high[0] - low[0], high[1] - low[1], high[2] - low[2]}) < patch.voxels()) {
    std::fill(patch.data.begin(), patch.data.end(), 0.0f);
    std::fill(patch.seg.begin(), patch.seg.end(), int8_t{-1});
    std::fill(patch.previous.begin(), patch.previous.end(), int8_t{-1});
  }
  const auto copy_rows = [&](const auto* from, auto* to) {
    for (int64_t z = low[0]; z < high[0]; ++z)
      for (int64_t y = low[1]; y < high[1]; ++y)
        std::copy_n(from + ((first[0] + z) * w.case_extent[1] + first[1] + y) * w.case_extent[2] + first[2] + low[2],
                    high[2] - low[2], to + (z * patch.extent[1] + y) * patch.extent[2] + low[2]);
  };
  for (int64_t c = 0; c < patch.channels; ++c) copy_rows(w.data + c * volume(w.case_extent), patch.channel(c));
  copy_rows(w.seg, patch.seg.data());
  if (patch.previous_labels > 0) copy_rows(w.previous, patch.previous.data());
}

RowSampler sampler_of(const Patch& patch) {
  const Window& w = patch.source;
  RowSampler r{};
  r.data = w.data;
  r.seg = w.seg;
  r.channels = patch.channels;
  r.out_channel_stride = patch.voxels();
  r.count = patch.extent[2];
  for (size_t a = 0; a < 3; ++a) {
    r.extent[a] = w.case_extent[a];
    r.window_low[a] = w.first[a];
    r.window_high[a] = w.first[a] + w.extent[a];
    r.low[a] = std::max<int64_t>(w.first[a], 0);
    r.high[a] = std::min(r.window_high[a], w.case_extent[a]);
  }
  return r;
}

}  // namespace

Spatial Spatial::draw(Random& random, const PatchGeometry& geometry) {
  Spatial s;
  s.in_plane = geometry.in_plane;
  // All numbers are drawn whether used or not: each keeps its place in the stream.
  const bool rotate = random.uniform() < kRotationProbability, resize = random.uniform() < kScalingProbability;
  for (size_t axis = 0; axis < 3; ++axis) {
    const double angle = random.uniform(-geometry.max_angle, geometry.max_angle);
    if (rotate && (axis == 0 || !geometry.in_plane)) s.angles[axis] = angle;
  }
  const double scale = random.uniform(kLowestScale, kHighestScale);
  if (resize) s.scale = scale;
  return s;
}

std::array<Double3, 3> Spatial::matrix() const {
  const double c0 = std::cos(angles[0]), s0 = std::sin(angles[0]), c1 = std::cos(angles[1]), s1 = std::sin(angles[1]),
               c2 = std::cos(angles[2]), s2 = std::sin(angles[2]);
  const Matrix rotate_0{{{1, 0, 0}, {0, c0, -s0}, {0, s0, c0}}}, rotate_1{{{c1, 0, s1}, {0, 1, 0}, {-s1, 0, c1}}},
      rotate_2{{{c2, -s2, 0}, {s2, c2, 0}, {0, 0, 1}}},
      scaling{{{in_plane ? 1 : scale, 0, 0}, {0, scale, 0}, {0, 0, scale}}};
  return product(rotate_2, product(rotate_1, product(rotate_0, scaling)));
}

void Spatial::apply(Patch& patch) const {
  if (scale == 1 && angles == std::array<double, 3>{}) return copy_centre(patch);
  const Matrix m = matrix();
  const Window& w = patch.source;
  Double3 centre, half;  // of the window's voxels in the case; of the patch's voxels
  for (size_t a = 0; a < 3; ++a) {
    centre[a] = static_cast<double>(w.first[a]) + (static_cast<double>(w.extent[a]) - 1) / 2;
    half[a] = (static_cast<double>(patch.extent[a]) - 1) / 2;
  }
  RowSampler row = sampler_of(patch);
  for (size_t a = 0; a < 3; ++a) row.step[a] = static_cast<float>(m[a][2]);
  for (int64_t z = 0; z < patch.extent[0]; ++z)
    for (int64_t y = 0; y < patch.extent[1]; ++y) {
      const Double3 i{static_cast<double>(z) - half[0], static_cast<double>(y) - half[1], -half[2]};
      for (size_t a = 0; a < 3; ++a)
        row.start[a] = static_cast<float>(centre[a] + m[a][0] * i[0] + m[a][1] * i[1] + m[a][2] * i[2]);
      const int64_t at = (z * patch.extent[1] + y) * patch.extent[2];
      row.out = patch.data.data() + at;
      row.out_seg = patch.seg.data() + at;
      METVOX_ISA_CALL(sample_row)(row);
      if (patch.previous_labels == 0) continue;
      RowSampler labels = row;
      labels.channels = 0;
      labels.seg = w.previous;
      labels.out_seg = patch.previous.data() + at;
      METVOX_ISA_CALL(sample_row)(labels);
    }
}

Mirror Mirror::draw(Random& random) {
  Mirror m;
  for (bool& axis : m.axes) axis = random.uniform() < 0.5;
  return m;
}

namespace {

// Reverses the axes of one (z, y, x) block in place, by rows.
template <class T>
void mirror_block(T* block, const Int3& extent, const std::array<bool, 3>& axes) {
  const auto row = [&](int64_t z, int64_t y) { return block + (z * extent[1] + y) * extent[2]; };
  for (int64_t z = 0; z < extent[0]; ++z)
    for (int64_t y = 0; y < extent[1]; ++y) {
      T* a = row(z, y);
      T* b = row(axes[0] ? extent[0] - 1 - z : z, axes[1] ? extent[1] - 1 - y : y);
      if (a > b) continue;  // the pair has been seen from its other side
      if (a == b) {
        if (axes[2]) std::reverse(a, a + extent[2]);
      } else if (axes[2]) {
        for (int64_t x = 0; x < extent[2]; ++x) std::swap(a[x], b[extent[2] - 1 - x]);
      } else {
        std::swap_ranges(a, a + extent[2], b);
      }
    }
}

}  // namespace

void Mirror::apply(Patch& patch) const {
  if (!axes[0] && !axes[1] && !axes[2]) return;
  for (int64_t c = 0; c < patch.channels; ++c) mirror_block(patch.channel(c), patch.extent, axes);
  mirror_block(patch.seg.data(), patch.extent, axes);
  if (patch.previous_labels > 0) mirror_block(patch.previous.data(), patch.extent, axes);
}

}  // namespace metvox
