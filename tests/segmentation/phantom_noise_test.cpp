// SPDX-License-Identifier: Apache-2.0
#include "segmentation/phantom/noise.h"

#include <gtest/gtest.h>

#include <cmath>

namespace metvox::phantom {

const Box kBox{{-40, -50, -30}, {40, 50, 30}};

TEST(phantom_noise, has_mean_0_and_deviation_1) {
  const SmoothNoise noise(Random(7, 1), kBox, 5);
  Random random(7, 2);
  double sum = 0, squares = 0;
  constexpr int kSamples = 20000;
  for (int n = 0; n < kSamples; ++n) {
    const double v = noise.at({random.uniform(-40, 40), random.uniform(-50, 50), random.uniform(-30, 30)});
    sum += v;
    squares += v * v;
  }
  // Three standard errors. The box holds 16 x 20 x 12 knots; the mean is that of the coefficients, whose deviation is
  // (315/151)^1.5 = 3; squares are correlated over about 7 knots' volume and have variance 2.
  const double knots = 16 * 20 * 12;
  EXPECT_NEAR(sum / kSamples, 0, 3 * 3 / std::sqrt(knots));
  EXPECT_NEAR(squares / kSamples, 1, 3 * std::sqrt(2 * 7 / knots));
}

TEST(phantom_noise, gradient_is_the_derivative) {
  const SmoothNoise noise(Random(1, 1), kBox, 6);
  const Point p{3.3, -7.1, 12.9};
  Point g;
  noise.sample(p, &g);
  constexpr double h = 1e-4;  // knots are floats but sums are doubles, so the difference is good to h^2
  EXPECT_NEAR((noise.at(p + Point{h, 0, 0}) - noise.at(p - Point{h, 0, 0})) / (2 * h), g.x, 1e-7);
  EXPECT_NEAR((noise.at(p + Point{0, h, 0}) - noise.at(p - Point{0, h, 0})) / (2 * h), g.y, 1e-7);
  EXPECT_NEAR((noise.at(p + Point{0, 0, h}) - noise.at(p - Point{0, 0, h})) / (2 * h), g.z, 1e-7);
}

TEST(phantom_noise, a_line_reads_the_same_field) {
  const SmoothNoise noise(Random(1, 1), kBox, 6);
  const SmoothNoise::Line line(noise, 11.5, -3.25);
  // 16 floats are added up a knot, none above 4 standard deviations of 3.
  for (double x = -45; x <= 45; x += 0.9) EXPECT_NEAR(line.at(x), noise.at({x, 11.5, -3.25}), 20 * 12 * 6e-8) << x;
}

TEST(phantom_noise, blur_is_a_gaussian_of_sum_1) {
  const std::array<int64_t, 3> size{17, 15, 13};
  std::vector<float> image(17 * 15 * 13, 0.0f);
  image[(6 * 15 + 7) * 17 + 8] = 1;
  blur(image, size, {1.0, 0.6, 0.0});
  double sum = 0, xx = 0;
  for (size_t v = 0; v < image.size(); ++v) {
    const double x = static_cast<double>(v % 17) - 8;
    sum += image[v];
    xx += image[v] * x * x;
    if (v / (17 * 15) != 6) {
      EXPECT_EQ(image[v], 0) << "sigma 0 leaves z alone";
    }
  }
  EXPECT_NEAR(sum, 1, 1e-5);
  // The sum of i^2 exp(-i^2 / 2) over that of exp(-i^2 / 2), i from -3 to 3.
  EXPECT_NEAR(xx, 0.995912, 1e-5);
  std::vector<float> flat(17 * 15 * 13, 2.5f);
  blur(flat, size, {2, 2, 2});
  for (float f : flat) EXPECT_NEAR(f, 2.5f, 1e-5f);
}

}  // namespace metvox::phantom
