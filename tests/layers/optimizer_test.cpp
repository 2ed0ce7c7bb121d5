// SPDX-License-Identifier: Apache-2.0
#include "layers/optimizer.h"

#include <gtest/gtest.h>

namespace metvox {

TEST(optimizer, polynomial_schedule_gives_the_published_rates) {
  EXPECT_NEAR(polynomial_lr(1e-2, 50, 200), 7.718895e-3, 5e-10);
  EXPECT_NEAR(polynomial_lr(1e-2, 100, 200), 5.358867e-3, 5e-10);
  EXPECT_NEAR(polynomial_lr(1e-2, 150, 200), 2.871746e-3, 5e-10);
  EXPECT_NEAR(polynomial_lr(1e-2, 199, 200), 8.4932e-5, 5e-10);
}

TEST(optimizer, clips_the_global_norm_of_what_is_trained) {
  ParameterStore s;
  const Parameter a = s.add("a", {2}, {}), b = s.add("b", {1}, {});
  s.grad(a).as<float>()[0] = 30;
  s.grad(a).as<float>()[1] = 40;
  s.grad(b).as<float>()[0] = 1e6f;
  Stream stream;
  double norm = 0;
  EXPECT_NEAR(clip_factor(stream, s, {{a.first, 2}}, 12, &norm), 12 / (50 + 1e-6), 1e-9);
  EXPECT_NEAR(norm, 50, 1e-6);
}

TEST(optimizer, leaves_alone_what_has_no_gradient) {
  for (const char* name : {"sgd", "adam"}) {
    ParameterStore s;
    const Parameter a = s.add("a", {1}, {Initial::Kind::constant, 1}),
                    b = s.add("b", {1}, {Initial::Kind::constant, 1});
    s.initialize(0);
    s.grad(a).as<float>()[0] = s.grad(b).as<float>()[0] = 0.5f;
    auto optimizer = make_optimizer(name, s, {});
    Stream stream;
    optimizer->step(stream, s, {{a.first, 1}}, 0.1, 1);
    EXPECT_NE(s.value(a).as<float>()[0], 1);
    EXPECT_EQ(s.value(b).as<float>()[0], 1);
  }
}

}  // namespace metvox
