// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/augment.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "io/json.h"
#include "segmentation/training/transforms.h"

namespace metvox {
namespace {

const Json& golden() {
  static const Json json = read_json(Path(METVOX_SOURCE_DIR) / "tests/golden/augment.json");
  return json;
}

// The case of tests/golden/make_augment.py.
struct GoldenCase {
  Int3 shape{9, 11, 10}, patch{6, 7, 5};
  std::vector<float> data;
  std::vector<int8_t> seg;
  GoldenCase() {
    const int64_t n = volume(shape);
    for (int64_t i = 0; i < 2 * n; ++i) data.push_back(static_cast<float>((i * 7919 + 13) % 1009) / 256 - 1);
    for (int64_t i = 0; i < n; ++i) seg.push_back(static_cast<int8_t>(i / 7 % 4 - 1));
  }
  Patch empty() const {
    Patch p(2, patch);
    p.source = {data.data(), seg.data(), shape, {-1, 0, 2}, {9, 10, 9}};
    return p;
  }
  Patch centre() const {
    Patch p = empty();
    Spatial{}.apply(p);
    return p;
  }
  template <class T>
  Patch after(const T& transform) const {
    Patch p = centre();
    transform.apply(p);
    return p;
  }
};

std::vector<float> values(const Patch& p) { return {p.channel(0), p.channel(0) + p.data.size()}; }
int8_t label(const Patch& p, size_t i) { return p.seg.data<int8_t>()[i]; }

// Values up to 3 through a handful of float operations each; gamma's pow and rescaling cost the most.
constexpr double kTolerance = 3 * 64 * 6e-8;
// Where voxels move: the reference's coordinates, up to 10, are rounded four times on each of three axes, and between
// neighbours there are up to 4.
constexpr double kMoved = 4 * 3 * 10 * 4 * 6e-8;

void expect_patch(const Patch& patch, const char* name, double tolerance = kTolerance) {
  const auto expected = golden().at(name).get<std::vector<double>>();
  const std::vector<float> got = values(patch);
  ASSERT_EQ(expected.size(), got.size());
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(got[i], expected[i], tolerance) << name << ' ' << i;
}

void expect_labels(const Patch& patch, const char* name) {
  const auto expected = golden().at(name).get<std::vector<int>>();
  ASSERT_EQ(static_cast<int64_t>(expected.size()), patch.voxels());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(label(patch, i), expected[i]) << name << ' ' << i;
}

}  // namespace

// Sizes that nnU-Net computes.
TEST(augment, initial_patch_sizes) {
  EXPECT_EQ(patch_geometry({64, 192, 160}).initial, (Int3{178, 289, 200}));
  EXPECT_EQ(patch_geometry({128, 160, 112}).initial, (Int3{224, 228, 189}));
  EXPECT_EQ(patch_geometry({128, 128, 128}).initial, (Int3{205, 205, 205}));
  EXPECT_FALSE(patch_geometry({64, 192, 160}).in_plane);
  EXPECT_TRUE(patch_geometry({63, 192, 160}).in_plane);
  EXPECT_EQ(patch_geometry({14, 256, 256}).initial[0], 14);
}

TEST(augment, centre_of_a_window_over_the_edge) {
  const GoldenCase c;
  expect_patch(c.centre(), "centre");
  expect_labels(c.centre(), "centre_labels");
  Patch p = c.empty();
  p.source.first = {-6, 0, 0};  // the patch lies over the first slices
  Spatial{}.apply(p);
  EXPECT_EQ(label(p, 0), -1);
  EXPECT_EQ(p.channel(0)[0], 0);
}

TEST(augment, moves_voxels_as_the_reference) {
  const GoldenCase c;
  Patch p = c.empty();
  Spatial{{0.3, -0.2, 0.4}, 1.1, false}.apply(p);
  expect_patch(p, "spatial", kMoved);
  expect_labels(p, "spatial_labels");
  Patch beyond = c.empty();
  Spatial{{0.3, -0.2, 0.4}, 1.4, false}.apply(beyond);
  expect_patch(beyond, "beyond", kMoved);
  expect_labels(beyond, "beyond_labels");
  Patch scaled = c.empty();
  Spatial{{}, 0.77, false}.apply(scaled);
  expect_patch(scaled, "scaled", kMoved);
  expect_labels(scaled, "scaled_labels");
  Patch flat = c.empty();
  flat.source.first = {1, 0, 2};
  flat.source.extent = {6, 10, 9};
  Spatial{{0.7, 0, 0}, 0.9, true}.apply(flat);
  expect_patch(flat, "in_plane", kMoved);
  expect_labels(flat, "in_plane_labels");
  const Patch mirrored = c.after(Mirror{{true, false, true}});
  expect_patch(mirrored, "mirror");
  expect_labels(mirrored, "mirror_labels");
}

TEST(augment, flat_patches_turn_within_their_slices) {
  const auto m = Spatial{{0.5, 0, 0}, 1.3, true}.matrix();
  EXPECT_EQ(m[0], (Double3{1, 0, 0}));
  const PatchGeometry g = patch_geometry({8, 64, 64});
  for (uint64_t i = 0; i < 100; ++i) {
    Random random(1, i);
    const Spatial s = Spatial::draw(random, g, Augmentation::bg2);
    EXPECT_EQ(s.angles[1], 0);
    EXPECT_EQ(s.angles[2], 0);
  }
}

TEST(augment, changes_values_as_the_reference) {
  const GoldenCase c;
  expect_patch(c.after(Blur{{{0.5, 0.8, 1.0}, {0.9, 0.6, 0.7}}}), "blur");
  expect_patch(c.after(Brightness{{0.8, 1.2}}), "brightness");
  expect_patch(c.after(Contrast{{1.2, 0.8}}), "contrast");
  expect_patch(c.after(LowResolution{{0.6, 0.85}, false}), "low_resolution");
  expect_patch(c.after(LowResolution{{0.6, 0.85}, true}), "low_resolution_in_plane");
  expect_patch(c.after(Gamma{{1.4, 0.8}, false}), "gamma");
  expect_patch(c.after(Gamma{{0.75, 1.3}, true}), "inverted_gamma");
  expect_patch(c.after(MaskImage{{false, true}}), "mask");
}

TEST(augment, noise_is_that_of_the_reference) {
  const GoldenCase c;
  const Noise noise{0.07, 0x123456789abcdef};
  // A normal number, up to 5, of elementary functions that are within 1e-6.
  constexpr double kElementary = 0.07 * 5 * 2e-6 + kTolerance;
  expect_patch(c.after(noise), "noise", kElementary);
  expect_patch(c.after(noise), "bg1_noise", kElementary);
}

// nnU-Net up to 2.3. Values between neighbours of a spline change by up to 1.5 times their difference, and coefficients
// are up to 3 times as large in each of three axes.
TEST(augment, bg1_moves_voxels_as_its_reference) {
  const GoldenCase c;
  const auto expect = [&](const Spatial& spatial, const Window& window, const std::string& name) {
    Patch p = c.empty();
    p.source.first = window.first;
    p.source.extent = window.extent;
    spatial.apply(p);
    expect_patch(p, ("bg1_" + name).c_str(), 1.5 * kMoved);
    expect_labels(p, ("bg1_" + name + "_labels").c_str());
  };
  const Window whole = c.empty().source;
  Window flat = whole;
  flat.first = {1, 0, 2};
  flat.extent = {6, 10, 9};
  constexpr Augmentation kOld = Augmentation::bg1;
  expect({{}, 1, false, kOld}, whole, "centre");
  expect({{-0.3, 0.2, -0.4}, 1.1, false, kOld}, whole, "spatial");
  expect({{-0.3, 0.2, -0.4}, 1.37, false, kOld}, whole, "beyond");
  expect({{}, 0.77, false, kOld}, whole, "scaled");
  expect({{-0.7, 0, 0}, 0.9, true, kOld}, flat, "in_plane");
}

TEST(augment, bg1_changes_values_as_its_reference) {
  const GoldenCase c;
  constexpr Augmentation kOld = Augmentation::bg1;
  const Blur blur{{{0.6, 0.6, 0.6}, {1, 1, 1}}, kOld};
  expect_patch(c.after(blur), "bg1_blur");
  expect_patch(c.after(Brightness{{0.8, 1.2}}), "bg1_brightness");
  expect_patch(c.after(Contrast{{1.2, 0.8}}), "bg1_contrast");
  expect_patch(c.after(LowResolution{{0.6, 0.85}, false, kOld}), "bg1_low_resolution");
  expect_patch(c.after(LowResolution{{0.6, 0.85}, true, kOld}), "bg1_low_resolution_in_plane");
  expect_patch(c.after(Gamma{{1.4, 0.8}, false}), "bg1_gamma");
  expect_patch(c.after(Gamma{{0.75, 1.3}, true}), "bg1_inverted_gamma");
  Patch thin(2, {2, c.patch[1], c.patch[2]});
  const Patch centre = c.centre();
  for (int64_t channel = 0; channel < 2; ++channel)
    std::copy_n(centre.channel(channel), thin.voxels(), thin.channel(channel));
  blur.apply(thin);
  expect_patch(thin, "bg1_thin_blur");
}

TEST(augment, a_constant_channel_survives_every_transform) {
  const GoldenCase c;
  Patch p = c.centre();
  std::fill_n(p.channel(0), p.data.size(), 2.0f);
  Gamma{{1.4, 0.7}, false}.apply(p);
  Contrast{{1.2, 0.8}}.apply(p);
  Blur{{{1, 1, 1}, {1, 1, 1}}}.apply(p);
  LowResolution{{0.5, 0.7}, false}.apply(p);
  for (float x : values(p)) EXPECT_NEAR(x, 2, kTolerance);
}

TEST(augment, noise_is_normal_and_every_channels_own) {
  Patch p(2, {20, 21, 23});  // not a multiple of the block of normals
  Noise{0.1, 99}.apply(p);
  double sum = 0, squares = 0, fourth = 0, product = 0;
  for (int64_t i = 0; i < p.voxels(); ++i) {
    const double x = p.channel(0)[i] / 0.1;
    product += x * p.channel(1)[i] / 0.1;
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  const double n = static_cast<double>(p.voxels());
  // Four standard errors of mean, variance and fourth moment of n normals.
  EXPECT_NEAR(sum / n, 0, 4 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 4 * std::sqrt(2 / n));
  EXPECT_NEAR(fourth / n, 3, 4 * std::sqrt(96 / n));
  EXPECT_NEAR(product / n, 0, 4 / std::sqrt(n));
}

TEST(augment, mirror_reverses_the_axes_asked_for) {
  for (int mask = 0; mask < 8; ++mask) {
    const Mirror m{{(mask & 1) != 0, (mask & 2) != 0, (mask & 4) != 0}};
    Patch p(1, {3, 4, 5});
    std::iota(p.channel(0), p.channel(0) + 60, 0.0f);
    m.apply(p);
    for (int64_t z = 0; z < 3; ++z)
      for (int64_t y = 0; y < 4; ++y)
        for (int64_t x = 0; x < 5; ++x) {
          const int64_t from = ((m.axes[0] ? 2 - z : z) * 4 + (m.axes[1] ? 3 - y : y)) * 5 + (m.axes[2] ? 4 - x : x);
          EXPECT_EQ(p.channel(0)[(z * 4 + y) * 5 + x], static_cast<float>(from));
        }
  }
}

TEST(augment, mask_and_store) {
  const GoldenCase c;
  Patch p = c.centre();
  MaskImage{{true, false}}.apply(p);
  const Tensor images = Tensor::zeros({2, 2, 6, 7, 5}, DType::f32), labels = Tensor::zeros({2, 6, 7, 5}, DType::u8);
  store(p, images, labels, 1);
  const Patch original = c.centre();
  for (int64_t i = 0, n = p.voxels(); i < n; ++i) {
    const float* x = images.data<float>() + 2 * (n + i);
    const int8_t seg = original.seg.data<int8_t>()[i];
    EXPECT_EQ(labels.data<uint8_t>()[n + i], std::max<int>(seg, 0));
    EXPECT_EQ(x[0], seg < 0 ? 0 : original.channel(0)[i]);
    EXPECT_EQ(x[1], original.channel(1)[i]);
  }
}

TEST(augment, a_sample_depends_on_seed_and_number_alone) {
  const GoldenCase c;
  const auto list = training_transforms(patch_geometry(c.patch), {true, true});
  const auto sample = [&](uint64_t seed, uint64_t number) {
    Patch p = c.empty();
    run(list, seed, number, p);
    return values(p);
  };
  const auto first = sample(3, 5);
  sample(3, 6);
  EXPECT_EQ(first, sample(3, 5));
  EXPECT_NE(first, sample(4, 5));
}

// How often each transform falls, and between which limits its parameters lie.
TEST(augment, draws_follow_the_reference) {
  const auto list = training_transforms(patch_geometry({16, 16, 16}), {});
  std::vector<std::string> names;
  for (const Transform& t : list) names.push_back(t.name);
  EXPECT_EQ(names, (std::vector<std::string>{"spatial", "noise", "blur", "brightness", "contrast", "low resolution",
                                             "inverted gamma", "gamma", "mirror"}));
  int rotated = 0, scaled = 0, below = 0;
  constexpr int kDraws = 4000;
  for (uint64_t i = 0; i < kDraws; ++i) {
    Random random(11, i);
    const Spatial s = Spatial::draw(random, patch_geometry({16, 16, 16}), Augmentation::bg2);
    rotated += s.angles[0] != 0;
    scaled += s.scale != 1;
    EXPECT_LE(std::abs(s.angles[2]), 30 * M_PI / 180);
    EXPECT_TRUE(s.scale >= 0.7 && s.scale <= 1.4);
    const Gamma g = Gamma::draw(random, 1, false);
    below += g.exponents[0] < 1;
    EXPECT_TRUE(g.exponents[0] >= 0.7 && g.exponents[0] <= 1.5);
  }
  const auto deviation = [](double p) { return 4 * std::sqrt(kDraws * p * (1 - p)); };
  EXPECT_NEAR(rotated, 0.2 * kDraws, deviation(0.2));
  EXPECT_NEAR(scaled, 0.2 * kDraws, deviation(0.2));
  EXPECT_NEAR(below, 0.5 * kDraws, deviation(0.5));
}

}  // namespace metvox
