// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/surface.h"

#include <gtest/gtest.h>

#include <cmath>

#include "io/json.h"
#include "segmentation/evaluation/distance.h"
#include "tensor/random.h"

namespace metvox {

namespace {

const Json& golden() {
  static const Json json = read_json(Path(METVOX_SOURCE_DIR) / "tests/golden/surface.json");
  return json;
}

Double3 spacing_of(const Json& j) { return j.at("spacing_mm").get<Double3>(); }

double number(const Json& j) { return j.is_string() ? std::numeric_limits<double>::infinity() : j.get<double>(); }

Tensor unpack(const Json& shape, const std::string& hex) {
  Tensor mask = Tensor::zeros({shape[0].get<int64_t>(), shape[1].get<int64_t>(), shape[2].get<int64_t>()}, DType::u8);
  for (int64_t i = 0; i < mask.size(); ++i)
    mask.data<uint8_t>()[i] = std::stoi(hex.substr(i / 4, 1), nullptr, 16) >> (3 - i % 4) & 1;
  return mask;
}

void fill(Tensor& mask, Int3 first, Int3 last) {
  const Shape& n = mask.shape();
  for (int64_t z = first[0]; z < last[0]; ++z)
    for (int64_t y = first[1]; y < last[1]; ++y)
      for (int64_t x = first[2]; x < last[2]; ++x) mask.data<uint8_t>()[(z * n[1] + y) * n[2] + x] = 1;
}

double area(const std::vector<SurfaceElement>& surface) {
  double sum = 0;
  for (const auto& s : surface) sum += s.area_mm2;
  return sum;
}

void expect_near(double got, double expected, double tolerance, const std::string& what) {
  if (std::isinf(expected)) EXPECT_EQ(got, expected) << what;
  else EXPECT_NEAR(got, expected, tolerance) << what;
}

}  // namespace

TEST(surface, areas_are_those_of_marching_cubes) {
  for (const Json& table : golden().at("tables")) {
    const auto areas = surface_areas(spacing_of(table));
    for (int code = 0; code < 256; ++code)
      EXPECT_NEAR(areas[code], table.at("areas_mm2")[code].get<double>(), 1e-14) << code;
  }
}

// Numbers of google-deepmind/surface-distance.
TEST(surface, box_against_box_and_a_far_voxel) {
  Tensor a = Tensor::zeros({20, 24, 22}, DType::u8), b = a.clone();
  fill(a, {5, 6, 7}, {13, 16, 15});
  fill(b, {6, 6, 5}, {14, 17, 13});
  fill(b, {17, 20, 18}, {18, 21, 19});
  const SurfaceDistances one = surface_distances(b, a, {1, 1, 1});
  EXPECT_NEAR(area(one.from_truth), 416.785875, 5e-7);
  EXPECT_NEAR(area(one.from_prediction), 449.346353, 5e-7);
  EXPECT_EQ(one.hausdorff_mm(.95), 2);
  EXPECT_NEAR(one.hausdorff_mm(1), 8.1240384, 5e-8);
  EXPECT_NEAR(one.dice(1), 0.6627214, 5e-8);
  const SurfaceDistances thick = surface_distances(b, a, {1, .5, .5});
  EXPECT_NEAR(thick.hausdorff_mm(.95), 1.1180340, 5e-8);
  EXPECT_NEAR(thick.hausdorff_mm(1), 5.9371710, 5e-8);
  const SurfaceDistances wide = surface_distances(b, a, {.5, .5, 1});
  EXPECT_NEAR(wide.hausdorff_mm(.95), 2, 5e-8);
  EXPECT_NEAR(wide.hausdorff_mm(1), 5.3385391, 5e-8);
}

TEST(surface, single_voxel_has_eight_corners) {
  Tensor mask = Tensor::zeros({3, 3, 3}, DType::u8);
  fill(mask, {0, 0, 0}, {1, 1, 1});  // at the image's border
  const SurfaceDistances d = surface_distances(mask, mask, {1, 1, 1});
  EXPECT_EQ(d.from_truth.size(), 8u);
  EXPECT_NEAR(area(d.from_truth), std::sqrt(3.0), 1e-14);
  EXPECT_EQ(d.hausdorff_mm(.95), 0);
  EXPECT_EQ(d.dice(0), 1);
}

TEST(surface, empty_masks_are_infinitely_far) {
  Tensor empty = Tensor::zeros({3, 4, 5}, DType::u8), full = empty.clone();
  fill(full, {0, 0, 0}, {3, 4, 5});
  EXPECT_TRUE(std::isinf(surface_distances(full, empty, {1, 1, 1}).hausdorff_mm(.95)));
  EXPECT_TRUE(std::isinf(surface_distances(empty, full, {1, 1, 1}).hausdorff_mm(1)));
  EXPECT_TRUE(std::isinf(surface_distances(empty, empty, {1, 1, 1}).hausdorff_mm(.95)));
  EXPECT_EQ(surface_distances(empty, full, {1, 1, 1}).dice(100), 0);
  EXPECT_TRUE(std::isnan(surface_distances(empty, empty, {1, 1, 1}).dice(1)));
}

TEST(surface, agrees_with_the_package_on_random_masks) {
  int k = 0;
  for (const Json& c : golden().at("cases")) {
    const std::string what = "case " + std::to_string(k++);
    const SurfaceDistances d =
        surface_distances(unpack(c.at("shape"), c.at("prediction").get<std::string>()),
                          unpack(c.at("shape"), c.at("truth").get<std::string>()), spacing_of(c));
    expect_near(d.hausdorff_mm(.95), number(c.at("hd95")), 1e-12, what);
    expect_near(d.hausdorff_mm(1), number(c.at("hd100")), 1e-12, what);
    EXPECT_NEAR(area(d.from_prediction), c.at("areas_mm2")[0].get<double>(), 1e-10) << what;
    EXPECT_NEAR(area(d.from_truth), c.at("areas_mm2")[1].get<double>(), 1e-10) << what;
    int t = 0;
    for (double tolerance_mm : {.5, 1., 2.})
      EXPECT_NEAR(d.dice(tolerance_mm), c.at("nsd")[t++].get<double>(), 1e-12) << what;
  }
}

TEST(surface, nearest_points_are_those_of_exhaustion) {
  const Double3 s{1.7, .6, 1.1};
  for (int seed = 0; seed < 4; ++seed) {
    Random random(static_cast<uint64_t>(seed), 1);
    Tensor marked = Tensor::zeros({5, 7, 9}, DType::u8);
    for (int64_t i = 0; i < marked.size(); ++i) marked.data<uint8_t>()[i] = random.uniform() < .01 * (1 + 3 * seed);
    std::vector<Int3> points;
    for (int64_t i = 0; i < marked.size(); ++i)
      if (marked.data<uint8_t>()[i]) points.push_back({i / 63, i / 9 % 7, i % 9});
    NearestPoint search(points, s);
    for (int64_t i = 0; i < marked.size(); ++i) {
      double nearest = std::numeric_limits<double>::infinity();
      for (int64_t j = 0; j < marked.size(); ++j) {
        if (!marked.data<uint8_t>()[j]) continue;
        const Int3 steps{i / 63 - j / 63, i / 9 % 7 - j / 9 % 7, i % 9 - j % 9};
        double sum = 0;
        for (int a = 0; a < 3; ++a) sum += std::pow(s[a] * static_cast<double>(steps[a]), 2);
        nearest = std::min(nearest, sum);
      }
      expect_near(search.squared_mm2({i / 63, i / 9 % 7, i % 9}), nearest, 1e-12, "voxel " + std::to_string(i));
    }
  }
}

}  // namespace metvox
