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

void copy_centre(Patch& patch, Augmentation rules) {
  const Window& w = patch.source;
  Int3 first, end;  // of the patch in the case
  for (size_t a = 0; a < 3; ++a) {
    const int64_t before = rules == Augmentation::bg1 ? (w.extent[a] - patch.extent[a]) / 2  // rounded down once
                                                      : w.extent[a] / 2 - patch.extent[a] / 2;
    first[a] = w.first[a] + before;
    end[a] = first[a] + patch.extent[a];
  }
  const CasePart part = patch.part(first, end);
  first = minus(first, part.first);
  copy_box(patch.stream, part.image, part.labels, first, patch.data.view(), patch.seg.view());
  if (patch.previous_labels == 0) return;
  const auto [from, to] = previous_labels(patch);
  copy_box(patch.stream, without_channels(part.image), from, first, without_channels(patch.data.view()), to);
}

struct Extremes {
  Int3 low, high;
};

// The part of the window that holds every corner of every voxel that is sampled, and `margin` voxels on each side.
Extremes sampled_part(const Patch& patch, const AffineSampling& sampling, int64_t margin) {
  Extremes part;
  for (size_t a = 0; a < 3; ++a) {
    double least = sampling.origin[a], most = least;
    for (size_t b = 0; b < 3; ++b) {
      const double way = sampling.matrix[a][b] * static_cast<double>(patch.extent[b] - 1);
      (way < 0 ? least : most) += way;
    }
    part.low[a] = std::max(sampling.low[a], static_cast<int64_t>(std::floor(least)) - margin);
    part.high[a] = std::min(sampling.high[a], static_cast<int64_t>(std::floor(most)) + 2 + margin);
  }
  return part;
}

// The sampling, of a part that begins at `first`.
AffineSampling seen_from(AffineSampling s, const Int3& first) {
  for (size_t a = 0; a < 3; ++a) s.origin[a] -= static_cast<double>(first[a]);
  s.low = minus(s.low, first);
  s.high = minus(s.high, first);
  return s;
}

void sample_linear(Patch& patch, const AffineSampling& in_case) {
  const auto [low, high] = sampled_part(patch, in_case, 1);
  const CasePart part = patch.part(low, high);
  const AffineSampling sampling = seen_from(in_case, part.first);
  sample_affine(patch.stream, part.image, part.labels, sampling, patch.data.view(), patch.seg.view());
  if (patch.previous_labels == 0) return;
  const auto [from, to] = previous_labels(patch);
  sample_affine(patch.stream, without_channels(part.image), from, sampling, without_channels(patch.data.view()), to);
}

// What lies beyond the case belongs to the spline, as zeros. What is cut off so many voxels away changes coefficients
// by that power of their pole, below 2^-24.
void sample_cubic(Patch& patch, const AffineSampling& in_case) {
  constexpr int64_t kMargin = 14;
  const auto [low, high] = sampled_part(patch, in_case, kMargin);
  const CasePart part = patch.part(low, high), box = patch.box(low, minus(high, low));
  const AffineSampling sampling = seen_from(in_case, low);
  const Int3 first = minus(low, part.first);
  copy_box(patch.stream, part.image, part.labels, first, box.image, box.labels);
  spline_filter(patch.stream, box.image);
  sample_spline(patch.stream, box.image, box.labels, sampling, patch.data.view(), patch.seg.view());
  if (patch.previous_labels == 0) return;
  const auto [from, to] = previous_labels(patch);
  const View none = without_channels(box.image), no_result = without_channels(patch.data.view());
  copy_box(patch.stream, without_channels(part.image), from, first, none, box.labels);
  sample_spline(patch.stream, none, box.labels, sampling, no_result, to);
}

}  // namespace

Spatial Spatial::draw(Random& random, const PatchGeometry& geometry, Augmentation rules) {
  Spatial s;
  s.in_plane = geometry.in_plane;
  s.rules = rules;
  // All numbers are drawn whether used or not: each keeps its place in the stream.
  const bool rotate = random.uniform() < kRotationProbability, resize = random.uniform() < kScalingProbability;
  for (size_t axis = 0; axis < 3; ++axis) {
    const double angle = random.uniform(-geometry.max_angle, geometry.max_angle);
    if (rotate && (axis == 0 || !geometry.in_plane)) s.angles[axis] = angle;
  }
  const double scale = rules == Augmentation::bg1 ? around_one(random, kLowestScale, kHighestScale)
                                                  : random.uniform(kLowestScale, kHighestScale);
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
  if (scale == 1 && angles == std::array<double, 3>{}) return copy_centre(patch, rules);
  const Window& w = patch.source;
  AffineSampling sampling{{}, matrix(), w.first, end_of(w)};  // in voxels of the case
  for (size_t a = 0; a < 3; ++a) {
    sampling.origin[a] = static_cast<double>(w.first[a]) + (static_cast<double>(w.extent[a]) - 1) / 2;
    for (size_t b = 0; b < 3; ++b)
      sampling.origin[a] -= sampling.matrix[a][b] * (static_cast<double>(patch.extent[b]) - 1) / 2;
  }
  if (rules == Augmentation::bg1) sample_cubic(patch, sampling);
  else sample_linear(patch, sampling);
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
