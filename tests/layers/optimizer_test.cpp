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
  const auto optimizer = make_optimizer("sgd", s, {});
  optimizer->set_lr(stream, 0.1);
  optimizer->step(stream, s, {{a.first, 2}});
  const StepControl control = optimizer->control(stream);
  EXPECT_NEAR(control.g_scale, 12 / (50 + 1e-6), 1e-9);
  EXPECT_NEAR(control.norm, 50, 1e-6);
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
    optimizer->set_lr(stream, 0.1);
    optimizer->step(stream, s, {{a.first, 1}});
    EXPECT_NE(s.value(a).as<float>()[0], 1);
    EXPECT_EQ(s.value(b).as<float>()[0], 1);
  }
}

TEST(optimizer, a_gradient_that_is_not_finite_changes_nothing) {
  for (const char* name : {"sgd", "adam"}) {
    ParameterStore s;
    const Parameter a = s.add("a", {2}, {Initial::Kind::constant, 1});
    s.initialize(0);
    const auto optimizer = make_optimizer(name, s, {});
    Stream stream;
    for (float bad : {INFINITY, NAN}) {
      s.grad(a).as<float>()[0] = 0.5f;
      s.grad(a).as<float>()[1] = bad;
      optimizer->set_lr(stream, 0.1);
      optimizer->step(stream, s, {{a.first, 2}});
      EXPECT_EQ(optimizer->control(stream).skip, 1);
      EXPECT_EQ(optimizer->steps(), 0);
      EXPECT_EQ(s.value(a).as<float>()[0], 1);
      for (const auto& [state, tensor] : optimizer->state()) EXPECT_EQ(tensor.data<float>()[0], 0) << state;
    }
  }
}

// f16: 65536 at first, halved by a gradient that is not finite, doubled after so many clean steps.
TEST(optimizer, adapts_the_loss_scale) {
  ParameterStore s;
  const Parameter a = s.add("a", {1}, {});
  OptimizerOptions options;
  options.rules.adapt_loss_scale = true;
  options.rules.growth_steps = 2;
  const auto optimizer = make_optimizer("sgd", s, options);
  Stream stream;
  std::vector<double> scales;
  for (float gradient : {INFINITY, 1.0f, 1.0f, 1.0f}) {
    s.grad(a).as<float>()[0] = gradient;
    optimizer->set_lr(stream, 0.1);
    optimizer->step(stream, s, {{a.first, 1}});
    scales.push_back(optimizer->control(stream).loss_scale);
  }
  EXPECT_EQ(scales, (std::vector<double>{32768, 32768, 65536, 65536}));
  EXPECT_EQ(*optimizer->loss_scale().as<double>(), 65536);
}

}  // namespace metvox
