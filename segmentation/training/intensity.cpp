// SPDX-License-Identifier: Apache-2.0
// Transforms that change values and leave voxels where they are.
#include <algorithm>
#include <cmath>

#include "kernels/augment.h"
#include "segmentation/data/resample.h"
#include "segmentation/training/transforms.h"

namespace metvox {
namespace {

std::vector<double> around_one(Random& random, int64_t channels, double low, double high) {
  std::vector<double> out(static_cast<size_t>(channels));
  for (double& value : out) value = around_one(random, low, high);
  return out;
}

constexpr double kChannelProbability = 0.5;  // of blur and low resolution

// Beside the channel and the patch's scratch this takes memory for the smaller channel, and for axes on their way up.
void lower_and_spline(Patch& patch, int64_t c, const Int3& small) {
  const Int3& n = patch.extent;
  const Device device = patch.stream.device();
  const Tensor low = Tensor::empty({small[0], small[1], small[2]}, DType::f32, device, "lower resolution");
  take_nearest(patch.stream, patch.channel_view(c), low.view());
  patch.stream.synchronize();  // the way up has a stream of its own
  const Double3 even{1, 1, 1};
  const Tensor back = resample_data(low.reshape({1, small[0], small[1], small[2]}), n, even, even, 3);
  transfer(patch.stream, back.reshape({n[0], n[1], n[2]}).view(), patch.channel_view(c));
  patch.stream.synchronize();  // before it is freed
}

}  // namespace

double around_one(Random& random, double low, double high) {
  const bool below = random.uniform() < 0.5;
  const double place = random.uniform();
  return below ? low + (1 - low) * place : 1 + (high - 1) * place;
}

Brightness Brightness::draw(Random& random, int64_t channels, Augmentation rules) {
  constexpr double kLeast = 0.75, kMost = 1.25;
  if (rules == Augmentation::bg2) return {around_one(random, channels, kLeast, kMost)};
  Brightness b;
  for (int64_t c = 0; c < channels; ++c) b.factors.push_back(random.uniform(kLeast, kMost));
  return b;
}

void Brightness::apply(Patch& patch) const {
  for (int64_t c = 0; c < patch.channels; ++c)
    scale(patch.stream, patch.channel_view(c), static_cast<float>(factors[static_cast<size_t>(c)]));
}

Contrast Contrast::draw(Random& random, int64_t channels) { return {around_one(random, channels, 0.75, 1.25)}; }

void Contrast::apply(Patch& patch) const {
  for (int64_t c = 0; c < patch.channels; ++c)
    scale_contrast(patch.stream, patch.channel_view(c), static_cast<float>(factors[static_cast<size_t>(c)]),
                   patch.scratch.view());
}

Gamma Gamma::draw(Random& random, int64_t channels, bool inverted) {
  return {around_one(random, channels, 0.7, 1.5), inverted};
}

void Gamma::apply(Patch& patch) const {
  for (int64_t c = 0; c < patch.channels; ++c)
    apply_gamma(patch.stream, patch.channel_view(c), static_cast<float>(exponents[static_cast<size_t>(c)]), inverted,
                patch.scratch.view());
}

Noise Noise::draw(Random& random) {
  const double sigma = random.uniform(0, 0.1);
  const uint64_t high = random.bits();
  return {sigma, high << 32 | random.bits()};
}

void Noise::apply(Patch& patch) const { add_noise(patch.stream, patch.data.view(), static_cast<float>(sigma), key); }

Blur Blur::draw(Random& random, int64_t channels, Augmentation rules) {
  Blur b;
  b.rules = rules;
  for (int64_t c = 0; c < channels; ++c) {
    const bool on = random.uniform() < kChannelProbability;
    Double3 sigma;
    for (double& s : sigma) s = random.uniform(0.5, 1);
    if (rules == Augmentation::bg1) sigma.fill(sigma[0]);
    b.sigmas.push_back(on ? sigma : Double3{});
  }
  return b;
}

std::vector<float> Blur::taps(double sigma, Augmentation rules) {
  const double wanted = rules == Augmentation::bg1 ? 2 * std::floor(4 * sigma + 0.5) + 1 : 6 * sigma + 0.5;
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
      const std::vector<float> weights = taps(sigma, rules);
      const Edge edge = rules == Augmentation::bg1 ? Edge::symmetric : Edge::reflect;
      if (edge == Edge::reflect && patch.extent[axis] <= static_cast<int64_t>(weights.size()) / 2)
        continue;  // too flat to be reflected
      blur_axis(patch.stream, patch.channel_view(c), static_cast<int>(axis), weights, edge, patch.scratch.view());
    }
}

LowResolution LowResolution::draw(Random& random, int64_t channels, bool in_plane, Augmentation rules) {
  LowResolution low;
  low.in_plane = in_plane;
  low.rules = rules;
  for (int64_t c = 0; c < channels; ++c) {
    const bool on = random.uniform() < kChannelProbability;
    const double zoom = random.uniform(0.5, 1);
    low.zooms.push_back(on ? zoom : 1);
  }
  return low;
}

void LowResolution::apply(Patch& patch) const {
  for (int64_t c = 0; c < patch.channels; ++c) {
    const double zoom = zooms[static_cast<size_t>(c)];
    if (zoom == 1) continue;
    Int3 small = patch.extent;
    for (size_t a = in_plane ? 1 : 0; a < 3; ++a)
      small[a] = std::max<int64_t>(1, std::llrint(static_cast<double>(patch.extent[a]) * zoom));
    if (rules == Augmentation::bg1) lower_and_spline(patch, c, small);
    else lower_resolution(patch.stream, patch.channel_view(c), small, patch.scratch.view());
  }
}

void MaskImage::apply(Patch& patch) const {
  for (int64_t c = 0; c < patch.channels; ++c)
    if (channels[static_cast<size_t>(c)]) mask_outside(patch.stream, patch.seg.view(), patch.channel_view(c));
}

}  // namespace metvox
