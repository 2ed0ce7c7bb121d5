// SPDX-License-Identifier: Apache-2.0
// Transforms that change values and leave voxels where they are.
#include <algorithm>
#include <cmath>
#include <limits>

#include "segmentation/training/loops.h"
#include "segmentation/training/transforms.h"

namespace metvox {
namespace {

// Half the time below 1, half above it.
double around_one(Random& random, double low, double high) {
  const bool below = random.uniform() < 0.5;
  const double place = random.uniform();
  return below ? low + (1 - low) * place : 1 + (high - 1) * place;
}

std::vector<double> around_one(Random& random, int64_t channels, double low, double high) {
  std::vector<double> out(static_cast<size_t>(channels));
  for (double& value : out) value = around_one(random, low, high);
  return out;
}

constexpr double kChannelProbability = 0.5;  // of blur and low resolution

}  // namespace

Brightness Brightness::draw(Random& random, int64_t channels) { return {around_one(random, channels, 0.75, 1.25)}; }

void Brightness::apply(Patch& patch) const {
  constexpr float kAny = std::numeric_limits<float>::max();
  for (int64_t c = 0; c < patch.channels; ++c) METVOX_ISA_CALL(scale_and_clip)
  (patch.channel(c), patch.voxels(), static_cast<float>(factors[static_cast<size_t>(c)]), 0, -kAny, kAny);
}

Contrast Contrast::draw(Random& random, int64_t channels) { return {around_one(random, channels, 0.75, 1.25)}; }

void Contrast::apply(Patch& patch) const {
  for (int64_t c = 0; c < patch.channels; ++c) {
    const ChannelStatistics s = METVOX_ISA_CALL(statistics)(patch.channel(c), patch.voxels());
    const float factor = static_cast<float>(factors[static_cast<size_t>(c)]);
    METVOX_ISA_CALL(scale_and_clip)(patch.channel(c), patch.voxels(), factor, s.mean * (1 - factor), s.min, s.max);
  }
}

Gamma Gamma::draw(Random& random, int64_t channels, bool inverted) {
  return {around_one(random, channels, 0.7, 1.5), inverted};
}

void Gamma::apply(Patch& patch) const {
  constexpr float kAny = std::numeric_limits<float>::max(), kLeast = 1e-7f;
  const int64_t n = patch.voxels();
  for (int64_t c = 0; c < patch.channels; ++c) {
    float* x = patch.channel(c);
    if (inverted) METVOX_ISA_CALL(scale_and_clip)(x, n, -1, 0, -kAny, kAny);
    const ChannelStatistics before = METVOX_ISA_CALL(statistics)(x, n);
    // The result's range is left out: the old mean and deviation replace it.
    METVOX_ISA_CALL(power)
    (x, n, before.min, 1 / std::max(before.max - before.min, kLeast),
     static_cast<float>(exponents[static_cast<size_t>(c)]));
    const ChannelStatistics after = METVOX_ISA_CALL(statistics)(x, n);
    const float sign = inverted ? -1.0f : 1.0f, range = std::max(before.max - before.min, kLeast);
    const float factor = sign * before.deviation / std::max(after.deviation, kLeast / range);
    METVOX_ISA_CALL(scale_and_clip)(x, n, factor, sign * before.mean - factor * after.mean, -kAny, kAny);
  }
}

Noise Noise::draw(Random& random) {
  const double sigma = random.uniform(0, 0.1);
  const uint64_t high = random.bits();
  return {sigma, high << 32 | random.bits()};
}

void Noise::apply(Patch& patch) const {
  METVOX_ISA_CALL(add_noise)(patch.data.data(), patch.channels, patch.voxels(), static_cast<float>(sigma), key);
}

Blur Blur::draw(Random& random, int64_t channels) {
  Blur b;
  for (int64_t c = 0; c < channels; ++c) {
    const bool on = random.uniform() < kChannelProbability;
    Double3 sigma;
    for (double& s : sigma) s = random.uniform(0.5, 1);
    b.sigmas.push_back(on ? sigma : Double3{});
  }
  return b;
}

std::vector<float> Blur::taps(double sigma) {
  const double wanted = 6 * sigma + 0.5;
  const int64_t rounded = std::llrint(wanted), count = rounded % 2                              ? rounded
                                                       : wanted >= static_cast<double>(rounded) ? rounded + 1
                                                                                                : rounded - 1;
  std::vector<double> weights;
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double x = (static_cast<double>(i) - static_cast<double>(count - 1) / 2) / sigma;
    weights.push_back(std::exp(-0.5 * x * x));
    sum += weights.back();
  }
  std::vector<float> out;
  for (double w : weights) out.push_back(static_cast<float>(w / sum));
  return out;
}

void Blur::apply(Patch& patch) const {
  for (int64_t c = 0; c < patch.channels; ++c)
    for (size_t axis = 0; axis < 3; ++axis) {
      const double sigma = sigmas[static_cast<size_t>(c)][axis];
      if (sigma <= 0) continue;
      const std::vector<float> weights = taps(sigma);
      const int64_t half = static_cast<int64_t>(weights.size()) / 2, n = patch.extent[axis];
      if (n <= half) continue;  // too flat to be reflected
      const int64_t inner = axis == 1 ? patch.extent[2] : patch.extent[1] * patch.extent[2];
      if (axis == 2)
        METVOX_ISA_CALL(filter_rows)
        (patch.channel(c), patch.scratch.data(), patch.voxels() / n, n, weights.data(), half);
      else METVOX_ISA_CALL(filter_axis)
      (patch.channel(c), patch.scratch.data(), patch.voxels() / (n * inner), n, inner, weights.data(), half);
      std::copy(patch.scratch.begin(), patch.scratch.end(), patch.channel(c));
    }
}

LowResolution LowResolution::draw(Random& random, int64_t channels, bool in_plane) {
  LowResolution low;
  low.in_plane = in_plane;
  for (int64_t c = 0; c < channels; ++c) {
    const bool on = random.uniform() < kChannelProbability;
    const double zoom = random.uniform(0.5, 1);
    low.zooms.push_back(on ? zoom : 1);
  }
  return low;
}

namespace {

// How one axis goes down to `small` voxels and up again: voxel i reads small voxels at[i] and at[i] + next[i]; small
// voxel k is voxel source[k] of the original.
struct AxisPlan {
  std::vector<int32_t> source, at, next;
  std::vector<float> weight;
  AxisPlan(int64_t n, int64_t small) {
    const double ratio = static_cast<double>(n) / static_cast<double>(small);
    for (int64_t k = 0; k < small; ++k)
      source.push_back(
          static_cast<int32_t>(std::min<double>((static_cast<double>(k) + 0.5) * ratio, static_cast<double>(n - 1))));
    for (int64_t i = 0; i < n; ++i) {
      const double p = std::max(0.0, (static_cast<double>(i) + 0.5) / ratio - 0.5);
      at.push_back(static_cast<int32_t>(p));
      next.push_back(at.back() + 1 < small);
      weight.push_back(static_cast<float>(p - std::floor(p)));
    }
  }
};

// Down and up along the three axes: rows along x first (into `rows`), then y and z by blending whole rows.
void lower_resolution(float* x, const Int3& extent, const std::array<AxisPlan, 3>& plan, float* rows) {
  const int64_t small_z = static_cast<int64_t>(plan[0].source.size()),
                small_y = static_cast<int64_t>(plan[1].source.size());
  const int64_t width = extent[2];
  const AxisPlan& along_x = plan[2];
  std::vector<float> small(along_x.source.size());
  for (int64_t z = 0; z < small_z; ++z)
    for (int64_t y = 0; y < small_y; ++y) {
      const float* from =
          x + (plan[0].source[static_cast<size_t>(z)] * extent[1] + plan[1].source[static_cast<size_t>(y)]) * width;
      for (size_t k = 0; k < small.size(); ++k) small[k] = from[along_x.source[k]];
      METVOX_ISA_CALL(blend_gathered)
      (small.data(), along_x.at.data(), along_x.next.data(), along_x.weight.data(), rows + (z * small_y + y) * width,
       width);
    }
  std::vector<float> low(static_cast<size_t>(width)), high(low);
  for (size_t z = 0; z < static_cast<size_t>(extent[0]); ++z)
    for (size_t y = 0; y < static_cast<size_t>(extent[1]); ++y) {
      const float* a = rows + (plan[0].at[z] * small_y + plan[1].at[y]) * width;
      const float* b = a + plan[0].next[z] * small_y * width;
      const int64_t down = plan[1].next[y] * width;
      METVOX_ISA_CALL(blend)(a, a + down, plan[1].weight[y], low.data(), width);
      METVOX_ISA_CALL(blend)(b, b + down, plan[1].weight[y], high.data(), width);
      float* to = x + (static_cast<int64_t>(z) * extent[1] + static_cast<int64_t>(y)) * width;
      METVOX_ISA_CALL(blend)(low.data(), high.data(), plan[0].weight[z], to, width);
    }
}

}  // namespace

void LowResolution::apply(Patch& patch) const {
  for (int64_t c = 0; c < patch.channels; ++c) {
    const double zoom = zooms[static_cast<size_t>(c)];
    if (zoom == 1) continue;
    const auto plan = [&](size_t axis) {
      const double n = static_cast<double>(patch.extent[axis]);
      const bool kept = in_plane && axis == 0;
      return AxisPlan(patch.extent[axis], kept ? patch.extent[axis] : std::max<int64_t>(1, std::llrint(n * zoom)));
    };
    lower_resolution(patch.channel(c), patch.extent, {plan(0), plan(1), plan(2)}, patch.scratch.data());
  }
}

void MaskImage::apply(Patch& patch) const {
  for (int64_t c = 0; c < patch.channels; ++c) {
    if (!channels[static_cast<size_t>(c)]) continue;
    float* x = patch.channel(c);
    for (size_t i = 0; i < patch.seg.size(); ++i)
      if (patch.seg[i] < 0) x[i] = 0;
  }
}

}  // namespace metvox
