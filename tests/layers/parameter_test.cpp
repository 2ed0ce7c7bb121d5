// SPDX-License-Identifier: Apache-2.0
#include "layers/parameter.h"

#include <gtest/gtest.h>

#include <cmath>

namespace metvox {

TEST(parameter, kaiming_has_the_frameworks_deviation_and_depends_on_seed_and_name_only) {
  ParameterStore a, b;
  const Parameter first = a.add("w", {16, 24, 3, 3, 3}, {Initial::Kind::kaiming, 0.01});
  b.add("other", {5}, {Initial::Kind::constant, 1});
  const Parameter second = b.add("w", {16, 24, 3, 3, 3}, {Initial::Kind::kaiming, 0.01});
  a.initialize(3);
  b.initialize(3);
  const View x = a.value(first), y = b.value(second);
  double square = 0;
  for (int64_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(x.as<float>()[i], y.as<float>()[i]);
    square += x.as<float>()[i] * x.as<float>()[i];
  }
  const double expected = 2 / (1 + 1e-4) / (24 * 27);
  // the sample variance of n normals has a relative deviation of sqrt(2 / n)
  const double n = static_cast<double>(x.size());
  EXPECT_NEAR(square / n, expected, 4 * expected * std::sqrt(2 / n));
}

TEST(parameter, transposed_convolutions_count_outputs_as_fan_in) {
  ParameterStore s;
  const Parameter w = s.add("w", {64, 8, 2, 2, 2}, {Initial::Kind::kaiming, 0.01});
  s.initialize(1);
  double square = 0;
  for (int64_t i = 0; i < w.shape.size(); ++i) square += s.value(w).as<float>()[i] * s.value(w).as<float>()[i];
  const double n = static_cast<double>(w.shape.size()), expected = 2 / (1 + 1e-4) / 64;
  EXPECT_NEAR(square / n, expected, 4 * expected * std::sqrt(2 / n));
}

TEST(parameter, names_are_unique_and_buffers_fixed) {
  ParameterStore s;
  s.add("a", {3}, {});
  EXPECT_THROW(s.add("a", {3}, {}), Error);
  s.initialize(0);
  EXPECT_THROW(s.add("b", {3}, {}), Error);
  EXPECT_EQ(s.find("c"), nullptr);
}

}  // namespace metvox
