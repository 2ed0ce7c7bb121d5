// SPDX-License-Identifier: Apache-2.0
// Transforms that move voxels: rotation and scaling out of a window, mirroring.
#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/augment.h"
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

Int3 end_of(const Window& w) { return {w.first[0] + w.extent[0], w.first[1] + w.extent[1], w.first[2] + w.extent[2]}; }

Int3 minus(const Int3& a, const Int3& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }

// What the previous stage of a cascade said of the whole case, and of the patch.
std::pair<View, View> previous_labels(Patch& patch) {
  const Int3& size = patch.source.case_extent;
  return {{const_cast<int8_t*>(patch.source.previous), {size[0], size[1], size[2]}, DType::i8},
          {patch.previous.data(), patch.seg.shape(), DType::i8}};
}
View without_channels(View image) {
  image.shape[0] = 0;
  return image;
}

void copy_centre(Patch& patch) {
  const Window& w = patch.source;
  Int3 first, end;  // of the patch in the case
  for (size_t a = 0; a < 3; ++a) {
    first[a] = w.first[a] + w.extent[a] / 2 - patch.extent[a] / 2;
    end[a] = first[a] + patch.extent[a];
  }
  const CasePart part = patch.part(first, end);
  first = minus(first, part.first);
  copy_box(patch.stream, part.image, part.labels, first, patch.data.view(), patch.seg.view());
  if (patch.previous_labels == 0) return;
  const auto [from, to] = previous_labels(patch);
  copy_box(patch.stream, without_channels(part.image), from, first, without_channels(patch.data.view()), to);
}

// The part of the window that holds every corner of every voxel that is sampled, and a voxel more on each side.
CasePart part_to_sample(Patch& patch, const AffineSampling& sampling) {
  Int3 low, high;
  for (size_t a = 0; a < 3; ++a) {
    double least = sampling.origin[a], most = least;
    for (size_t b = 0; b < 3; ++b) {
      const double way = sampling.matrix[a][b] * static_cast<double>(patch.extent[b] - 1);
      (way < 0 ? least : most) += way;
    }
    low[a] = std::max(sampling.low[a], static_cast<int64_t>(std::floor(least)) - 1);
    high[a] = std::min(sampling.high[a], static_cast<int64_t>(std::floor(most)) + 3);
  }
  return patch.part(low, high);
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
  const Window& w = patch.source;
  AffineSampling sampling{{}, matrix(), w.first, end_of(w)};  // in voxels of the case
  for (size_t a = 0; a < 3; ++a) {
    sampling.origin[a] = static_cast<double>(w.first[a]) + (static_cast<double>(w.extent[a]) - 1) / 2;
    for (size_t b = 0; b < 3; ++b)
      sampling.origin[a] -= sampling.matrix[a][b] * (static_cast<double>(patch.extent[b]) - 1) / 2;
  }
  const CasePart part = part_to_sample(patch, sampling);
  for (size_t a = 0; a < 3; ++a) sampling.origin[a] -= static_cast<double>(part.first[a]);
  sampling.low = minus(sampling.low, part.first);
  sampling.high = minus(sampling.high, part.first);
  sample_affine(patch.stream, part.image, part.labels, sampling, patch.data.view(), patch.seg.view());
  if (patch.previous_labels == 0) return;
  const auto [from, to] = previous_labels(patch);
  sample_affine(patch.stream, without_channels(part.image), from, sampling, without_channels(patch.data.view()), to);
}

Mirror Mirror::draw(Random& random) {
  Mirror m;
  for (bool& axis : m.axes) axis = random.uniform() < 0.5;
  return m;
}

void Mirror::apply(Patch& patch) const {
  if (!axes[0] && !axes[1] && !axes[2]) return;
  for (int64_t c = 0; c < patch.channels; ++c) mirror(patch.stream, patch.channel_view(c), axes);
  mirror(patch.stream, patch.seg.view(), axes);
  if (patch.previous_labels > 0) mirror(patch.stream, previous_labels(patch).second, axes);
}

}  // namespace metvox
