// SPDX-License-Identifier: Apache-2.0
#include "autograd/program.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "autograd/op_case.h"
#include "autograd/ops/add.h"
#include "autograd/ops/cast.h"
#include "autograd/ops/conv3d.h"
#include "autograd/ops/norm_act.h"
#include "autograd/ops/weighted_sum.h"
#include "kernels/sim/capture.h"
#include "tensor/random.h"

namespace metvox {
namespace {

// A small residual network: enough for values with two consumers, strides and reuse of memory.
struct Small {
  Graph graph;
  Value x, w1, w2, gamma, beta, y, loss;
  Tensor values = Tensor::zeros({2048}, DType::f32), grads = Tensor::zeros({2048}, DType::f32);
  uint64_t version = 1;
  Small() {
    x = graph.input("x", {{2, 3, 6, 6, 6}, Kind::activation});
    w1 = graph.parameter("w1", {4, 3, 3, 3, 3}, 0);
    w2 = graph.parameter("w2", {4, 4, 3, 3, 3}, 512);
    gamma = graph.parameter("gamma", {4}, 1024);
    beta = graph.parameter("beta", {4}, 1040);
    Value h = norm_act(conv3d(x, {}, w1, {}, {}), gamma, beta);
    y = add(norm_act(conv3d(h, {}, w2, {}, {}), gamma, beta), h);
    loss = weighted_sum(y);
    Random random(3, 1);
    for (int64_t i = 0; i < 2048; ++i) values.data<float>()[i] = static_cast<float>(random.normal());
  }
  ParameterBuffers buffers() { return {values.view(), grads.view(), &version}; }
  Tensor data() const {
    Tensor t = Tensor::empty({2, 3, 6, 6, 6}, DType::f32);
    Random random(5, 1);
    for (int64_t i = 0; i < t.size(); ++i) t.data<float>()[i] = static_cast<float>(random.normal());
    return t;
  }
};

const Target kFloat{{}, DType::f32, "reference"};

}  // namespace

TEST(program, guarded_and_arena_placement_give_the_same_bits) {
  Small a, b;
  Stream stream;
  Program one(a.graph, {a.loss, a.y}, Mode::train, kFloat, a.buffers(), std::make_shared<Arena>());
  Program two(b.graph, {b.loss, b.y}, Mode::train, kFloat, b.buffers(), std::make_shared<Arena>(), Placement::guarded);
  for (int repeat = 0; repeat < 2; ++repeat) {
    one.set(stream, a.x, a.data().view());
    two.set(stream, b.x, b.data().view());
    one.run(stream);
    two.run(stream);
    EXPECT_EQ(std::memcmp(one.view(a.y).data, two.view(b.y).data, one.view(a.y).bytes()), 0);
    EXPECT_EQ(std::memcmp(a.grads.data<float>(), b.grads.data<float>(), a.grads.bytes()), 0);
  }
}

TEST(program, arena_is_as_small_as_lifetimes_allow_and_smaller_for_inference) {
  Small s;
  auto arena = std::make_shared<Arena>();
  Program train(s.graph, {s.loss}, Mode::train, kFloat, s.buffers(), arena);
  Program infer(s.graph, {s.y}, Mode::infer, kFloat, s.buffers(), arena);
  EXPECT_LT(train.arena_bytes(), train.plan().separate_bytes());
  EXPECT_LE(train.arena_bytes(), train.plan().lower_bound_bytes() * 5 / 4);
  EXPECT_LT(infer.arena_bytes(), train.arena_bytes());
  EXPECT_EQ(arena->bytes(), train.arena_bytes());
}

// conv -> norm -> conv -> norm at inference: two activations are enough, the norms write over their inputs.
TEST(program, inference_norms_in_place) {
  Small s;
  Program infer(s.graph, {s.y}, Mode::infer, kFloat, s.buffers(), std::make_shared<Arena>());
  const size_t input = 2 * 3 * 216 * 4, activation = 2 * 4 * 216 * 4;
  EXPECT_LE(infer.arena_bytes(), input + 3 * activation + 2 * 64 + infer.plan().buffers().size() * 64);
}

TEST(program, a_shared_arena_is_fixed_by_the_first_run) {
  Small s;
  auto arena = std::make_shared<Arena>();
  Program infer(s.graph, {s.y}, Mode::infer, kFloat, s.buffers(), arena);
  Stream stream;
  infer.set(stream, s.x, s.data().view());
  infer.run(stream);
  Program train(s.graph, {s.loss}, Mode::train, kFloat, s.buffers(), arena);
  EXPECT_THROW(train.run(stream), Error);
}

TEST(program, weights_are_packed_again_when_their_version_changes) {
  Small s;
  Stream stream;
  Program infer(s.graph, {s.y}, Mode::infer, {{}, DType::f32, ""}, s.buffers(), std::make_shared<Arena>());
  infer.set(stream, s.x, s.data().view());
  infer.run(stream);
  const float before = infer.view(s.y).as<float>()[0];
  for (int i = 0; i < 324; ++i) s.values.data<float>()[i] *= -1.5f;
  infer.run(stream);
  EXPECT_EQ(infer.view(s.y).as<float>()[0], before);
  ++s.version;
  infer.run(stream);
  EXPECT_NE(infer.view(s.y).as<float>()[0], before);
}

TEST(program, a_parameter_that_no_op_reads_has_a_zero_gradient_and_one_left_out_is_not_trained) {
  Small s;
  s.graph.parameter("cancelled bias", {8}, 1100);
  for (int i = 0; i < 2048; ++i) s.grads.data<float>()[i] = NAN;
  Program train(s.graph, {s.loss}, Mode::train, kFloat, s.buffers(), std::make_shared<Arena>());
  Stream stream;
  train.set(stream, s.x, s.data().view());
  train.run(stream);
  EXPECT_EQ(s.grads.data<float>()[1100], 0);
  int64_t trained = 0;
  for (const Range& r : train.trained()) {
    trained += r.count;
    for (int64_t i = r.first; i < r.first + r.count; ++i) ASSERT_FALSE(std::isnan(s.grads.data<float>()[i])) << i;
  }
  EXPECT_EQ(trained, 324 + 432 + 4 + 4 + 8);
}

// What only an output beside the loss reads has no gradient, so an optimizer must not step on it.
TEST(program, a_parameter_beside_the_loss_is_not_trained) {
  Small s;
  Value aside = cast(s.graph.parameter("aside", {16}, 1200));
  Program train(s.graph, {s.loss, aside}, Mode::train, kFloat, s.buffers(), std::make_shared<Arena>());
  for (const Range& r : train.trained()) EXPECT_FALSE(r.first <= 1200 && 1200 < r.first + r.count);
}

TEST(program, says_which_inputs_do_not_fit_where_the_graph_is_built) {
  Graph graph;
  graph.scope("encoder.stages.0");
  Value x = graph.input("x", {{1, 2, 4, 4, 4}, Kind::activation});
  Value w = graph.parameter("w", {4, 3, 3, 3, 3}, 0);
  try {
    conv3d(x, {}, w, {}, {});
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("encoder.stages.0: conv3d: x has 2 channels, w expects 3"), std::string::npos) << text;
  }
}

// Steps follow each other in time as they do in the run, none within another.
void expect_a_sound_profile(const std::vector<Program::Timing>& steps) {
  double now_ms = 0;
  const auto expect_next = [&](const Program::Timing& step, const Program::Timing::Part& part) {
    EXPECT_GE(part.ms, 0) << step.name;
    EXPECT_GE(part.start_ms, now_ms - 1e-9) << step.name;
    now_ms = part.start_ms + part.ms;
  };
  for (const auto& step : steps) expect_next(step, step.forward);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) expect_next(*step, step->backward);
  EXPECT_GT(now_ms, 0);
}

TEST(program, times_each_step_in_the_order_of_the_run) {
  Small s;
  Program train(s.graph, {s.loss}, Mode::train, kFloat, s.buffers(), std::make_shared<Arena>());
  Stream stream;
  train.set(stream, s.x, s.data().view());
  const auto steps = train.time(stream);
  EXPECT_EQ(steps.size(), 6u);  // two convolutions, two norms, an addition, the loss
  expect_a_sound_profile(steps);
  Program infer(s.graph, {s.y}, Mode::infer, kFloat, s.buffers(), std::make_shared<Arena>());
  infer.set(stream, s.x, s.data().view());
  for (const auto& step : infer.time(stream)) EXPECT_EQ(step.backward.ms, 0);
}

// A GPU is not waited for between the steps: it replays a recording, and gives the same gradients.
TEST(program, times_a_recorded_run_on_a_gpu) {
  const Device sim{Device::Kind::sim};
  Small s;
  const Tensor values = s.values.to(sim), grads = Tensor::zeros({2048}, DType::f32, sim);
  Program train(s.graph, {s.loss}, Mode::train, {sim, DType::f32, ""}, {values.view(), grads.view(), &s.version},
                std::make_shared<Arena>(sim));
  Stream stream(sim);
  const auto gradients = [&](auto&& run) {
    train.set(stream, s.x, s.data().view());
    run();
    const Tensor host = grads.to({});
    return std::vector<float>(host.data<float>(), host.data<float>() + host.size());
  };
  const auto expected = gradients([&] { train.run(stream); });
  train.set(stream, s.x, s.data().view());
  train.time(stream);
  const int64_t before = simt::counts().replayed;
  EXPECT_EQ(gradients([&] { expect_a_sound_profile(train.time(stream)); }), expected);
  EXPECT_EQ(simt::counts().replayed - before, 1);
}

TEST(program, values_that_are_not_outputs_cannot_be_read) {
  Small s;
  Program train(s.graph, {s.loss}, Mode::train, kFloat, s.buffers(), std::make_shared<Arena>());
  EXPECT_THROW(train.view(s.y), Error);
}

}  // namespace metvox
