// SPDX-License-Identifier: Apache-2.0
// The label volumes of tests/golden/lesionwise.json, painted as make_lesionwise.py paints them, and boxes by hand.
#pragma once
#include <gtest/gtest.h>

#include <cmath>

#include "io/json.h"
#include "tensor/tensor.h"

namespace metvox {

struct PaintedBox {
  Int3 first, last;  // (z, y, x), half open
  int label = 1;
};

inline Tensor paint_boxes(const Int3& n, const std::vector<PaintedBox>& boxes) {
  Tensor t = Tensor::zeros({n[0], n[1], n[2]}, DType::u8);
  for (const PaintedBox& b : boxes)
    for (int64_t z = b.first[0]; z < b.last[0]; ++z)
      for (int64_t y = b.first[1]; y < b.last[1]; ++y)
        for (int64_t x = b.first[2]; x < b.last[2]; ++x)
          t.data<uint8_t>()[(z * n[1] + y) * n[2] + x] = static_cast<uint8_t>(b.label);
  return t;
}

// Ellipsoids [label, [x, y, z], [radii]] in a volume of (x, y, z) voxels.
inline Tensor paint_ellipsoids(const Json& shape_xyz, const Json& ellipsoids) {
  const auto n = shape_xyz.get<std::array<int64_t, 3>>();
  Tensor t = Tensor::zeros({n[2], n[1], n[0]}, DType::u8);
  for (const Json& e : ellipsoids) {
    const auto c = e[1].get<std::array<int64_t, 3>>(), r = e[2].get<std::array<int64_t, 3>>();
    uint8_t* out = t.data<uint8_t>();
    for (int64_t z = 0; z < n[2]; ++z)
      for (int64_t y = 0; y < n[1]; ++y)
        for (int64_t x = 0; x < n[0]; ++x, ++out) {
          const int64_t a = (x - c[0]) * r[1] * r[2], b = (y - c[1]) * r[0] * r[2], d = (z - c[2]) * r[0] * r[1];
          if (a * a + b * b + d * d <= r[0] * r[1] * r[2] * r[0] * r[1] * r[2]) *out = e[0].get<uint8_t>();
        }
  }
  return t;
}

struct GoldenCase {
  Tensor prediction, truth;
  Double3 spacing_mm;  // (z, y, x)
  Json regions;
};

inline std::vector<GoldenCase> golden_lesion_cases() {
  std::vector<GoldenCase> cases;
  const Json golden = read_json(Path(METVOX_SOURCE_DIR) / "tests/golden/lesionwise.json");
  for (const Json& c : golden.at("cases")) {
    const auto mm = c.at("spacing_xyz_mm").get<std::array<double, 3>>();
    cases.push_back({paint_ellipsoids(c.at("shape_xyz"), c.at("prediction")),
                     paint_ellipsoids(c.at("shape_xyz"), c.at("truth")),
                     {mm[2], mm[1], mm[0]},
                     c.at("regions")});
  }
  return cases;
}

// A number of the golden file: null is NaN, "inf" infinite.
inline void expect_golden(double got, const Json& expected, const std::string& what, double tolerance = 1e-9) {
  if (expected.is_null()) EXPECT_TRUE(std::isnan(got)) << what << ": " << got;
  else if (expected.is_string()) EXPECT_TRUE(std::isinf(got)) << what << ": " << got;
  else EXPECT_NEAR(got, expected.get<double>(), tolerance * std::max(1., std::abs(expected.get<double>()))) << what;
}

}  // namespace metvox
