// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "segmentation/training/transforms.h"

namespace metvox {
namespace {

constexpr double kDegree = std::numbers::pi / 180;

}  // namespace

PatchGeometry patch_geometry(const Int3& patch) {
  PatchGeometry g;
  g.patch = patch;
  const Double3 p{static_cast<double>(patch[0]), static_cast<double>(patch[1]), static_cast<double>(patch[2])};
  const bool flat = patch[0] == 1;  // a 2-D configuration
  g.in_plane = flat || *std::max_element(p.begin(), p.end()) / p[0] > 3;
  const bool oblong = std::max(p[1], p[2]) / std::min(p[1], p[2]) > 1.5;
  g.max_angle = !g.in_plane ? 30 * kDegree : flat && oblong ? 15 * kDegree : 180 * kDegree;
  // The box that holds the patch turned about each axis on its own, over the least scale.
  const double angle = std::min(g.max_angle, 90 * kDegree), c = std::cos(angle), s = std::sin(angle);
  Double3 box = p;
  const auto hold = [&](double z, double y, double x) {
    const Double3 turned{std::abs(z), std::abs(y), std::abs(x)};
    for (size_t a = 0; a < 3; ++a) box[a] = std::max(box[a], turned[a]);
  };
  hold(p[0], p[1] * c + p[2] * s, p[2] * c - p[1] * s);
  if (!flat) {
    hold(p[0] * c - p[2] * s, p[1], p[0] * s + p[2] * c);
    hold(p[0] * c + p[1] * s, p[1] * c - p[0] * s, p[2]);
  }
  for (size_t a = 0; a < 3; ++a) g.initial[a] = static_cast<int64_t>(box[a] / 0.85);
  if (g.in_plane) g.initial[0] = patch[0];
  return g;
}

Augmentation augmentation_from(const std::string& name) {
  for (const Augmentation rules : {Augmentation::bg1, Augmentation::bg2})
    if (name == name_of(rules)) return rules;
  fail(Fault::usage, "augmentation is bg1 or bg2, not \"", name, '"');
}

const char* name_of(Augmentation augmentation) { return augmentation == Augmentation::bg1 ? "bg1" : "bg2"; }

std::vector<Transform> training_transforms(const PatchGeometry& geometry, const std::vector<bool>& masked,
                                           int64_t previous_labels, Augmentation rules) {
  const auto inverted_gamma = [](bool inverted) {
    return [inverted](Patch& p, Random& r) { Gamma::draw(r, p.channels, inverted).apply(p); };
  };
  std::vector<Transform> list{
      {"spatial", 1, [=](Patch& p, Random& r) { Spatial::draw(r, geometry, rules).apply(p); }},
      {"noise", 0.1, [](Patch& p, Random& r) { Noise::draw(r).apply(p); }},
      {"blur", 0.2, [=](Patch& p, Random& r) { Blur::draw(r, p.channels, rules).apply(p); }},
      {"brightness", 0.15, [=](Patch& p, Random& r) { Brightness::draw(r, p.channels, rules).apply(p); }},
      {"contrast", 0.15, [](Patch& p, Random& r) { Contrast::draw(r, p.channels).apply(p); }},
      {"low resolution", 0.25,
       [=](Patch& p, Random& r) { LowResolution::draw(r, p.channels, geometry.in_plane, rules).apply(p); }},
      {"inverted gamma", 0.1, inverted_gamma(true)},
      {"gamma", 0.3, inverted_gamma(false)},
      {"mirror", 1, [](Patch& p, Random& r) { Mirror::draw(r).apply(p); }},
  };
  if (std::find(masked.begin(), masked.end(), true) != masked.end())
    list.push_back({"mask image", 1, [masked](Patch& p, Random&) { MaskImage{masked}.apply(p); }});
  if (previous_labels > 0) {
    list.push_back({"morphology of the previous stage", 0.4,
                    [](Patch& p, Random& r) { Morphology::draw(r, p.previous_labels).apply(p); }});
    list.push_back({"lost components of the previous stage", 0.2,
                    [](Patch& p, Random& r) { LostComponents::draw(r, p.previous_labels).apply(p); }});
  }
  return list;
}

std::vector<Transform> validation_transforms() {
  return {{"centre", 1, [](Patch& p, Random&) { Spatial{}.apply(p); }}};
}

void run(const std::vector<Transform>& transforms, uint64_t seed, uint64_t sample, Patch& patch) {
  check(transforms.size() < kStreamsPerSample, "augment: ", transforms.size(), " transforms, room for ",
        kStreamsPerSample - 1);
  for (size_t k = 0; k < transforms.size(); ++k) {
    Random random(seed, sample * kStreamsPerSample + 1 + k);
    if (random.uniform() < transforms[k].probability) transforms[k].apply(patch, random);
  }
}

}  // namespace metvox
