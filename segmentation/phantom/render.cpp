// SPDX-License-Identifier: Apache-2.0
#include "segmentation/phantom/render.h"

#include <algorithm>

#include "segmentation/phantom/noise.h"
#include "tensor/threads.h"

namespace metvox::phantom {
namespace {

// Mean of each tissue with white matter at 1, and standard deviation over mean inside it. Measured on real cases,
// vessels and choroid plexus judged; small things a little past it, for what partial volume takes. T1C, T1N, T2F, T2W.
struct Contrast {
  double mean[4];
  double spread[4];
};
constexpr Contrast kTissue[kTissues] = {
    {{0, 0, 0, 0}, {0, 0, 0, 0}},                    // background
    {{1, 1, 1, 1}, {.04, .04, .10, .10}},            // white
    {{.91, .86, 1.08, 1.22}, {.05, .05, .05, .06}},  // grey
    {{.94, .91, 1.0, 1.12}, {.04, .04, .04, .05}},   // deep grey
    {{.90, .85, 1.06, 1.20}, {.05, .05, .06, .06}},  // cerebellar grey
    {{.96, .95, 1.0, 1.1}, {.04, .04, .05, .05}},    // brain stem
    {{.44, .44, .30, 2.9}, {.10, .10, .10, .06}},    // csf
    {{.45, .45, .32, 2.8}, {.10, .10, .10, .08}},    // sulcus
    {{1.85, .75, .5, .6}, {.15, .10, .20, .20}},     // vessel
    {{1.6, .75, 1.2, 2.2}, {.20, .10, .10, .10}},    // choroid plexus
};
constexpr Contrast kLesion[4] = {
    {{0, 0, 0, 0}, {0, 0, 0, 0}},
    {{.92, .80, 2.1, 2.95}, {.07, .07, .10, .07}},     // NETC
    {{.875, .865, 2.25, 2.05}, {.06, .07, .14, .14}},  // SNFH
    {{1.70, .87, 2.35, 2.15}, {.15, .08, .15, .15}},   // ET
};
// Standard deviation between the lesions of a head, relative to the mean: cysts differ most in FLAIR.
constexpr double kBetweenLesions[4][4] = {
    {0, 0, 0, 0}, {.05, .06, .28, .10}, {.02, .02, .06, .05}, {.09, .05, .08, .07}};

struct Paint {
  float mean = 0, spread = 0;
};

// What each tissue, and each label of each lesion, looks like in this case.
class Palette {
 public:
  Palette(const Streams& streams, int sequence, size_t lesions) : lesion_(4 * (lesions + 1)) {
    Random random = streams(Purpose::contrast, sequence);
    const auto jitter = [&](double sigma) { return 1 + sigma * std::clamp(random.normal(), -2.0, 2.0); };
    for (int t = 0; t < kTissues; ++t) {
      const double sigma = t == static_cast<int>(Tissue::white) ? 0.0 : 0.04;  // white is the unit; `scale` moves it
      tissue_[t] = paint(kTissue[t], sequence, jitter(sigma));
    }
    double of_case[4];
    for (double& j : of_case) j = jitter(0.05);
    for (size_t id = 1; id <= lesions; ++id)
      for (int label = 1; label <= 3; ++label)
        lesion_[4 * id + static_cast<size_t>(label)] =
            paint(kLesion[label], sequence, of_case[label] * jitter(kBetweenLesions[label][sequence]));
  }
  const Paint& of(Tissue tissue) const { return tissue_[static_cast<int>(tissue)]; }
  const Paint& of(uint16_t lesion, uint8_t label) const { return lesion_[4 * size_t{lesion} + label]; }

 private:
  static Paint paint(const Contrast& c, int sequence, double factor) {
    const double mean = c.mean[sequence] * factor;
    return {static_cast<float>(mean), static_cast<float>(mean * c.spread[sequence])};
  }
  Paint tissue_[kTissues];
  std::vector<Paint> lesion_;
};

// f(row, y_mm, z_mm) for every row of voxels.
template <class F>
void for_rows(const Grid& grid, F&& f) {
  parallel_for(grid.size[1] * grid.size[2], 16, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row)
      f(row, grid.position(1, row % grid.size[1]), grid.position(2, row / grid.size[1]));
  });
}

std::vector<float> paint_tissues(const TissueMap& tissue, const LesionMap& lesions, const Grid& grid,
                                 const Streams& streams, int sequence) {
  const Palette palette(streams, sequence, lesions.lesions.size());
  const SmoothNoise fine(streams(Purpose::texture, 2 * sequence), grid.box(), 4);
  const SmoothNoise coarse(streams(Purpose::texture, 2 * sequence + 1), grid.box(), 15);
  std::vector<float> image(tissue.size());
  for_rows(grid, [&](int64_t row, double y, double z) {
    const SmoothNoise::Line near(fine, y, z), far(coarse, y, z);
    for (int64_t i = 0; i < grid.size[0]; ++i) {
      const size_t v = static_cast<size_t>(row * grid.size[0] + i);
      if (tissue[v] == Tissue::background) continue;
      const Paint& paint = lesions.labels[v] ? palette.of(lesions.owner[v], lesions.labels[v]) : palette.of(tissue[v]);
      const double x = grid.position(0, i);
      image[v] = paint.mean + paint.spread * (0.6f * near.at(x) + 0.8f * far.at(x));
    }
  });
  return image;
}

// Slices of slice_mm, read back at every z by straight lines between them.
void thicken_slices(std::vector<float>& image, const Grid& grid, double slice_mm) {
  const double step = slice_mm / grid.spacing_mm[2];
  if (step <= 1) return;
  constexpr double kSigmaOfWidth = 1 / 2.355;
  blur(image, grid.size, {0, 0, step * kSigmaOfWidth});
  const std::vector<float> acquired = image;
  const int64_t plane = grid.size[0] * grid.size[1], last = grid.size[2] - 1;
  parallel_for(grid.size[2], 4, [&](int64_t first, int64_t end) {
    for (int64_t k = first; k < end; ++k) {
      const double below = std::floor(static_cast<double>(k) / step);
      const float w = static_cast<float>(static_cast<double>(k) / step - below);
      const float* a = &acquired[static_cast<size_t>(plane * std::min<int64_t>(last, std::lround(below * step)))];
      const float* b = &acquired[static_cast<size_t>(plane * std::min<int64_t>(last, std::lround((below + 1) * step)))];
      float* out = &image[static_cast<size_t>(plane * k)];
      for (int64_t i = 0; i < plane; ++i) out[i] = a[i] + w * (b[i] - a[i]);
    }
  });
}

// The length of (value + n a, n b), with a and b standard normal: one logarithm and one cosine for both.
float rician(float value, float noise, Random& random) {
  const float u = (static_cast<float>(random.bits() >> 8) + 0.5f) * 0x1p-24f;
  const float angle = 6.2831853f * static_cast<float>(random.bits() >> 8) * 0x1p-24f;
  const float n = noise * std::sqrt(-2 * std::log(u));
  return std::sqrt(std::max(0.0f, value * value + 2 * value * n * std::cos(angle) + n * n));
}

}  // namespace

const ScannerDomain& scanner_domain(const std::string& name) {
  static const ScannerDomain public_domain{{-1, -1, 1},  {.55, .55, .6, .55}, {1, 1, 1, 1}, .06, {.035, .035, .05, .06},
                                           {1, 1, 1, 1}, {600, 450, 300, 350}};
  static const ScannerDomain private_domain{
      {1, 1, 1}, {.7, .7, .8, .8}, {1, 5, 5, 5}, .16, {.07, .08, .09, .10}, {.9, 1.1, .85, 1.05}, {210, 180, 95, 640}};
  if (name == "public") return public_domain;
  if (name == "private") return private_domain;
  fail(Fault::usage, "phantom: the domain is public or private, not \"", name, "\"");
}

Tensor render(const TissueMap& tissue, const LesionMap& lesions, const Grid& grid, const ScannerDomain& domain,
              const Streams& streams, int sequence) {
  std::vector<float> image = paint_tissues(tissue, lesions, grid, streams, sequence);
  const double sigma = domain.blur_voxels[sequence];
  blur(image, grid.size, {sigma, sigma, sigma});
  thicken_slices(image, grid, domain.slice_mm[sequence]);

  const SmoothNoise shading(streams(Purpose::bias, sequence), grid.box(), 70);
  Random scanner = streams(Purpose::noise, 2 * sequence);
  const float noise = static_cast<float>(domain.noise[sequence] * scanner.uniform(0.95, 1.1));
  const float gamma = static_cast<float>(domain.gamma[sequence]);
  const float scale = static_cast<float>(domain.scale[sequence] * scanner.uniform(0.85, 1.15));
  const float bias = static_cast<float>(domain.bias);
  Tensor out = Tensor::zeros({grid.size[2], grid.size[1], grid.size[0]}, DType::i16);
  int16_t* voxels = out.data<int16_t>();
  for_rows(grid, [&](int64_t row, double y, double z) {
    const SmoothNoise::Line shade(shading, y, z);
    Random random = streams(Purpose::noise, 2 * sequence + 1);
    random.seek(static_cast<uint64_t>(row * ((grid.size[0] + 1) / 2)));  // two words a voxel, four a block
    for (int64_t i = 0; i < grid.size[0]; ++i) {
      const size_t v = static_cast<size_t>(row * grid.size[0] + i);
      if (tissue[v] == Tissue::background) continue;
      float value = rician(image[v] * std::exp(bias * shade.at(grid.position(0, i))), noise, random);
      if (gamma != 1) value = std::pow(value, gamma);
      // At least 1: zero means outside the head.
      voxels[v] = static_cast<int16_t>(std::clamp(std::lround(value * scale), 1L, 32767L));
    }
  });
  return out;
}

}  // namespace metvox::phantom
