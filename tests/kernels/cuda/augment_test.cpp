// SPDX-License-Identifier: Apache-2.0
// Augmentation on the GPU against the CPU's own loops, which golden numbers of other programs hold
// (tests/segmentation/augment_test.cpp).
#include "kernels/augment.h"

#include <cmath>
#include <map>

#include "tests/kernels/cuda/gpu_tensor.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox {
namespace {

using test::expect_near;
using test::in_double;
using test::kGpu;

constexpr double kUnit = 0x1p-24;
// The CPU sums 64 floats before it goes on in double.
constexpr double kSummed = 64;
const Int3 kExtents[] = {{5, 7, 6}, {13, 23, 25}};  // one block; many, and one that is not full

// The same sample on the host and on the GPU: a channel about 0, one that lies 100 deviations from it, labels -1 to 3.
struct Sample {
  Tensor image, labels;
  Tensor gpu_image, gpu_labels, scratch, gpu_scratch;
  Stream host, gpu{kGpu};

  explicit Sample(const Int3& e) {
    Random random(7, 1);
    image = Tensor::empty({2, e[0], e[1], e[2]}, DType::f32);
    labels = Tensor::empty({e[0], e[1], e[2]}, DType::i8);
    const int64_t n = labels.size();
    for (int64_t i = 0; i < image.size(); ++i)
      image.data<float>()[i] = static_cast<float>(random.normal() + (i < n ? 0 : 100));
    for (int64_t i = 0; i < n; ++i) labels.data<int8_t>()[i] = static_cast<int8_t>(random.below(5) - 1);
    gpu_image = image.to(kGpu);
    gpu_labels = labels.to(kGpu);
    scratch = Tensor::empty({augment_scratch(n)}, DType::f32);
    gpu_scratch = Tensor::empty({augment_scratch(n)}, DType::f32, kGpu, "scratch");
  }
  static View channel(const Tensor& of, int64_t c) {
    return of.slice(c, 1).reshape({of.shape()[1], of.shape()[2], of.shape()[3]}).view();
  }
  // What f(stream, channel, scratch) makes of channel c here and there, no further apart than limit(m): m is the
  // largest magnitude of the channel.
  template <class F, class Limit>
  void compare(const char* what, const F& f, const Limit& limit) {
    for (int64_t c = 0; c < 2; ++c) {
      const double m = test::largest(test::converted(image, DType::f64).slice(c, 1));
      f(host, channel(image, c), scratch.view());
      f(gpu, channel(gpu_image, c), gpu_scratch.view());
      gpu.synchronize();
      expect_near(in_double(gpu_image).slice(c, 1), test::converted(image, DType::f64).slice(c, 1), limit(m),
                  sentence(what, ", channel ", c));
    }
  }
};

template <class T = int8_t>
void expect_same_labels(const Tensor& gpu, const Tensor& host) {
  const Tensor there = gpu.to({});
  for (int64_t i = 0; i < host.size(); ++i) ASSERT_EQ(int{there.data<T>()[i]}, int{host.data<T>()[i]}) << "label " << i;
}

struct Result {
  Tensor image, labels, gpu_image, gpu_labels;
  explicit Result(const Int3& e)
      : image(Tensor::empty({2, e[0], e[1], e[2]}, DType::f32)),
        labels(Tensor::empty({e[0], e[1], e[2]}, DType::i8)),
        gpu_image(Tensor::empty(image.shape(), DType::f32, kGpu, "result")),
        gpu_labels(Tensor::empty(labels.shape(), DType::i8, kGpu, "result's labels")) {}
};

// By how much the heaviest label about a point beats the next, in double.
double margin(const Sample& s, const AffineSampling& at, const Int3& i) {
  Int3 low;
  Double3 fraction;
  for (size_t a = 0; a < 3; ++a) {
    double p = at.origin[a];
    for (size_t b = 0; b < 3; ++b) p += at.matrix[a][b] * static_cast<double>(i[b]);
    low[a] = static_cast<int64_t>(std::floor(p));
    fraction[a] = p - std::floor(p);
  }
  std::map<int, double> weights;
  const Shape& size = s.labels.shape();
  for (int corner = 0; corner < 8; ++corner) {
    double weight = 1;
    bool inside = true;
    Int3 p;
    for (size_t a = 0; a < 3; ++a) {
      const int up = corner >> (2 - a) & 1;
      p[a] = low[a] + up;
      weight *= up ? fraction[a] : 1 - fraction[a];
      inside = inside && p[a] >= 0 && p[a] < size[static_cast<int>(a)] && p[a] >= at.low[a] && p[a] < at.high[a];
    }
    weights[inside ? s.labels.data<int8_t>()[(p[0] * size[1] + p[1]) * size[2] + p[2]] : -1] += weight;
  }
  double most = 0, next = 0;
  for (const auto& [label, weight] : weights) {
    next = std::max(next, std::min(most, weight));
    most = std::max(most, weight);
  }
  return weights.size() < 2 ? 1 : most - next;
}

// Turned, scaled, partly outside the window and the source.
void compare_sampling(const Int3& extent) {
  Sample s(extent);
  const Int3 patch{extent[0] - 1, extent[1], extent[2] + 3};
  const AffineSampling at{{-0.73, 0.41, -1.3},
                          {{{0.93, -0.21, 0.17}, {0.19, 1.07, -0.09}, {-0.13, 0.11, 0.96}}},
                          {-1, 0, 1},
                          {extent[0] - 1, extent[1] + 2, extent[2] + 1}};
  Result r(patch);
  sample_affine(s.host, s.image.view(), s.labels.view(), at, r.image.view(), r.labels.view());
  sample_affine(s.gpu, s.gpu_image.view(), s.gpu_labels.view(), at, r.gpu_image.view(), r.gpu_labels.view());
  s.gpu.synchronize();
  // A position of at most `far` is rounded four times; each axis' weight is off by that, and values by it and their
  // difference of neighbours, 2 m; then eight products of three weights are summed.
  const double far = static_cast<double>(*std::max_element(patch.begin(), patch.end())) * 1.5, off = 4 * kUnit * far;
  for (int64_t c = 0; c < 2; ++c) {
    const Tensor expected = test::converted(r.image, DType::f64).slice(c, 1);
    const double m = test::largest(expected);
    expect_near(in_double(r.gpu_image).slice(c, 1), expected, m * (3 * 2 * off + 12 * kUnit), "sampled");
  }
  const Tensor there = r.gpu_labels.to({});
  int64_t compared = 0, at_voxel = 0;
  for (Int3 i{}; i[0] < patch[0]; ++i[0])
    for (i[1] = 0; i[1] < patch[1]; ++i[1])
      for (i[2] = 0; i[2] < patch[2]; ++i[2], ++at_voxel) {
        if (margin(s, at, i) < 2 * 8 * 3 * off) continue;  // either label may win
        ++compared;
        ASSERT_EQ(int{there.data<int8_t>()[at_voxel]}, int{r.labels.data<int8_t>()[at_voxel]}) << "voxel " << at_voxel;
      }
  EXPECT_GT(compared, at_voxel * 9 / 10);
}

// Coefficients, then what lies between them; the window is one voxel smaller than the source on some sides.
void compare_splines(const Int3& extent) {
  Sample s(extent);
  spline_filter(s.host, s.image.view());
  spline_filter(s.gpu, s.gpu_image.view());
  s.gpu.synchronize();
  const double m = test::largest(test::converted(s.image, DType::f64));
  // A coefficient is the gain, 6, times a sum of at most 1.3 voxels and as much again on the way back, so each axis
  // errs by some 40 units and hands on 3 times what it got.
  expect_near(in_double(s.gpu_image), test::converted(s.image, DType::f64), 2 * 13 * 40 * kUnit * m, "coefficients");
  const Int3 patch{extent[0] - 1, extent[1], extent[2] + 3};
  const AffineSampling at{{0.2713, 0.4129, -0.3077},  // no place lies on the window's edge

                          {{{0.93, -0.11, 0.07}, {0.09, 1.03, -0.05}, {-0.06, 0.11, 0.91}}},
                          {0, 0, 0},
                          {extent[0], extent[1] - 1, extent[2]}};
  Result r(patch);
  s.gpu_image = s.image.to(kGpu);  // of the same coefficients
  sample_spline(s.host, s.image.view(), s.labels.view(), at, r.image.view(), r.labels.view());
  sample_spline(s.gpu, s.gpu_image.view(), s.gpu_labels.view(), at, r.gpu_image.view(), r.gpu_labels.view());
  s.gpu.synchronize();
  // As in compare_sampling; a weight of a cubic changes by less than the distance moved.
  const double far = static_cast<double>(*std::max_element(patch.begin(), patch.end())) * 1.5, off = 4 * kUnit * far;
  expect_near(in_double(r.gpu_image), test::converted(r.image, DType::f64), m * (3 * 4 * off + 64 * kUnit), "splines");
  const Tensor there = r.gpu_labels.to({}), values = in_double(r.gpu_image);
  int64_t same = 0, outside = 0;  // either label may win where two weigh as much
  for (int64_t i = 0; i < there.size(); ++i) {
    same += there.data<int8_t>()[i] == r.labels.data<int8_t>()[i];
    outside += there.data<int8_t>()[i] == -1 && values.data<double>()[i] == 0;
  }
  EXPECT_GT(same, there.size() * 99 / 100);
  EXPECT_GT(outside, 0);
}

void compare_copies(const Int3& extent) {
  Sample s(extent);
  for (const Int3& first : {Int3{-2, 1, -1}, Int3{1, 1, 1}, Int3{extent[0], 0, 0}}) {
    Result r({extent[0] - 2, extent[1] - 1, extent[2] + 1});
    copy_box(s.host, s.image.view(), s.labels.view(), first, r.image.view(), r.labels.view());
    copy_box(s.gpu, s.gpu_image.view(), s.gpu_labels.view(), first, r.gpu_image.view(), r.gpu_labels.view());
    s.gpu.synchronize();
    expect_near(in_double(r.gpu_image), test::converted(r.image, DType::f64), 0, "copied");
    expect_same_labels(r.gpu_labels, r.labels);
  }
}

void compare_moves(const Int3& extent) {
  Sample s(extent);
  const auto exactly = [](double) { return 0.0; };
  for (int axes = 0; axes < 8; ++axes) {
    const std::array<bool, 3> flip{(axes & 1) != 0, (axes & 2) != 0, (axes & 4) != 0};
    s.compare(
        "mirrored", [&](Stream& stream, View x, View) { mirror(stream, x, flip); }, exactly);
    mirror(s.host, s.labels.view(), flip);
    mirror(s.gpu, s.gpu_labels.view(), flip);
    s.gpu.synchronize();
    expect_same_labels(s.gpu_labels, s.labels);
  }
  s.compare(
      "masked",
      [&](Stream& stream, View x, View) {
        mask_outside(stream, stream.device().is_cpu() ? s.labels.view() : s.gpu_labels.view(), x);
      },
      exactly);
  const Tensor images = Tensor::empty(s.image.shape(), DType::f32),
               targets = Tensor::empty(s.labels.shape(), DType::u8);
  const Tensor gpu_images = Tensor::empty(images.shape(), DType::f32, kGpu, "images"),
               gpu_targets = Tensor::empty(targets.shape(), DType::u8, kGpu, "targets");
  store_sample(s.host, s.image.view(), s.labels.view(), images.view(), targets.view());
  store_sample(s.gpu, s.gpu_image.view(), s.gpu_labels.view(), gpu_images.view(), gpu_targets.view());
  s.gpu.synchronize();
  expect_near(in_double(gpu_images), test::converted(images, DType::f64), 0, "stored");
  expect_same_labels<uint8_t>(gpu_targets, targets);
}

void compare_filters(const Int3& extent) {
  Sample s(extent);
  const std::vector<float> taps{0.05f, 0.1f, 0.2f, 0.3f, 0.2f, 0.1f, 0.05f};
  for (int axis = 0; axis < 3; ++axis)  // seven products and their sums, here and there
    s.compare(
        "blurred",
        [&](Stream& stream, View x, View scratch) { blur_axis(stream, x, axis, taps, Edge::reflect, scratch); },
        [&](double m) { return 2 * 8 * kUnit * m; });
  Sample edges(extent);
  const std::vector<float> wide(9, 1 / 9.0f);
  for (int axis = 0; axis < 3; ++axis)  // as many voxels as half of the taps, or fewer
    edges.compare(
        "blurred across edges",
        [&](Stream& stream, View x, View scratch) { blur_axis(stream, x, axis, wide, Edge::symmetric, scratch); },
        [&](double m) { return 2 * 10 * kUnit * m; });
  Sample other(extent);
  const Int3 small{extent[0] * 2 / 3, extent[1], extent[2] / 2 + 1};
  other.compare(  // three times a + w (b - a), here and there
      "of lower resolution", [&](Stream& stream, View x, View scratch) { lower_resolution(stream, x, small, scratch); },
      [](double m) { return 2 * 3 * 4 * kUnit * m; });
}

void compare_intensities(const Int3& extent) {
  constexpr double kSigma = 0.1, kLargestNormal = 6;
  Sample s(extent);
  add_noise(s.host, s.image.view(), static_cast<float>(kSigma), 0x123456789abcdefu);
  add_noise(s.gpu, s.gpu_image.view(), static_cast<float>(kSigma), 0x123456789abcdefu);
  // A logarithm, a root, a sine: some thirty roundings of the noise, one of the sum.
  s.compare(
      "noisy", [](Stream&, View, View) {},
      [](double m) { return 32 * kUnit * kSigma * kLargestNormal + 2 * kUnit * m; });
  Sample scaled(extent);
  scaled.compare(
      "scaled", [](Stream& stream, View x, View) { scale(stream, x, 1.17f); }, [](double) { return 0.0; });
  for (float factor : {0.8f, 1.25f}) {
    Sample contrast(extent);
    contrast.compare(
        "of other contrast", [&](Stream& stream, View x, View scratch) { scale_contrast(stream, x, factor, scratch); },
        [&](double m) { return kUnit * m * (kSummed * std::abs(1 - factor) + 8); });
  }
  for (float exponent : {0.7f, 1.5f})
    for (bool inverted : {false, true}) {
      Sample gamma(extent);
      // Of a range below 12: a power is off by some 48 units, its mean and deviation by as many as were summed; back
      // at the old mean, by those of that magnitude.
      gamma.compare(
          "with gamma",
          [&](Stream& stream, View x, View scratch) { apply_gamma(stream, x, exponent, inverted, scratch); },
          [&](double m) { return kUnit * ((48 + 3 * kSummed) * 12 + 8 * m); });
    }
}

}  // namespace

TEST(augment, sampling_agrees_with_the_cpu) {
  for (const Int3& extent : kExtents) compare_sampling(extent);
}

TEST(augment, splines_agree_with_the_cpu) {
  for (const Int3& extent : kExtents) compare_splines(extent);
  compare_splines({2, 9, 40});  // the least that is filtered, and a line beyond the horizon of its first coefficient
}

TEST(augment, the_nearest_voxels_are_those_of_the_cpu) {
  Sample s({7, 12, 9});
  const Tensor few = Tensor::empty({4, 7, 9}, DType::f32), there = Tensor::empty(few.shape(), DType::f32, kGpu, "few");
  take_nearest(s.host, Sample::channel(s.image, 1), few.view());
  take_nearest(s.gpu, Sample::channel(s.gpu_image, 1), there.view());
  s.gpu.synchronize();
  expect_near(in_double(there), test::converted(few, DType::f64), 0, "nearest");
}

TEST(augment, what_moves_agrees_with_the_cpu) {
  for (const Int3& extent : kExtents) {
    compare_copies(extent);
    compare_moves(extent);
  }
}

TEST(augment, filters_agree_with_the_cpu) {
  for (const Int3& extent : kExtents) compare_filters(extent);
}

TEST(augment, intensities_agree_with_the_cpu) {
  for (const Int3& extent : kExtents) compare_intensities(extent);
}

// More voxels than the blocks that leave sums have threads.
TEST(augment, statistics_of_a_large_channel_agree_with_the_cpu) {
  Sample s({40, 41, 42});
  s.compare(
      "of other contrast", [](Stream& stream, View x, View scratch) { scale_contrast(stream, x, 0.8f, scratch); },
      [](double m) { return kUnit * m * (kSummed * 0.2 + 8); });
}

TEST(augment, agrees_under_every_schedule) {
  under_every_schedule([] {
    compare_sampling(kExtents[0]);
    compare_copies(kExtents[0]);
    compare_moves(kExtents[0]);
    compare_splines({3, 8, 9});
    compare_filters({9, 8, 13});
    compare_intensities({9, 8, 13});
  });
}

}  // namespace metvox
