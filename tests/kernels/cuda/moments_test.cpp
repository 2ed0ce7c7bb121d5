// SPDX-License-Identifier: Apache-2.0
// Moments that convolutions give to the norm behind them: those of what lies in y, the same bits each time; and the
// programs that pass them on.
#include "kernels/moments.h"

#include "autograd/ops/add.h"
#include "autograd/ops/cast.h"
#include "autograd/ops/conv3d.h"
#include "autograd/ops/norm_act.h"
#include "autograd/ops/weighted_sum.h"
#include "autograd/program.h"
#include "kernels/convolution_trials.h"
#include "kernels/norm_act.h"
#include "tests/kernels/cuda/conv3d_runs.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox {
namespace {

using test::bytes_on;
using test::Conv3dData;
using test::in_double;
using test::kGpu;
using test::on_gpu;

constexpr double kC = 8, kSingle = 0x1p-23;
constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16};

struct Case {
  const char* engine;
  Conv3dProblem p;
};

// n, c, c2, k.
Case of(const char* engine, std::initializer_list<int64_t> nck, Int3 in, DType dtype, Int3 stride = {1, 1, 1}) {
  const auto* v = nck.begin();
  return {engine,
          {.n = v[0],
           .c = v[1],
           .c2 = v[2],
           .k = v[3],
           .in = in,
           .stride = stride,
           .bias = true,
           .dtype = dtype,
           .device = kGpu,
           .moments = true}};
}

bool has_hopper() { return driver(kGpu).facts(kGpu.index).arch == 900; }

// One for each tile of 16 to 128 columns; then the marched planes, with ragged tiles and blocks of 8 planes.
std::vector<Case> cases() {
  std::vector<Case> all;
  for (const DType t : kTypes) {
    all.push_back(of("native", {2, 8, 0, 16}, {4, 8, 8}, t));
    all.push_back(of("native", {1, 4, 4, 24}, {2, 8, 16}, t));
    all.push_back(of("native", {2, 8, 0, 64}, {8, 8, 4}, t, {2, 1, 1}));
    all.push_back(of("native", {1, 3, 0, 128}, {4, 4, 8}, t));
    if (t == DType::f32 || !has_hopper()) continue;
    all.push_back(of("native_hopper", {2, 16, 0, 16}, {9, 3, 17}, t));
    all.push_back(of("native_hopper", {1, 16, 16, 32}, {2, 18, 5}, t));
    all.push_back(of("native_hopper", {1, 32, 0, 64}, {17, 2, 3}, t));
  }
  return all;
}

// Normal numbers, scaled so that y has about deviation 1; its mean is the bias.
Conv3dData data_for(const Conv3dProblem& p, double mean = 0.3) {
  Conv3dData d = test::normal(p, 4);
  const double scale = 1 / std::sqrt(static_cast<double>((p.c + p.c2) * volume(p.kernel)));
  for (int64_t i = 0; i < d.w.size(); ++i) d.w.data<double>()[i] *= scale;
  for (int64_t i = 0; i < d.b.size(); ++i) d.b.data<double>()[i] = mean * (i % 2 ? -1 : 1);
  return d;
}

struct Given {
  Tensor y, moments;  // f64; no moments where none were asked for
};

Given run(const Case& c, const Conv3dData& d, bool moments = true) {
  const auto kernel = conv3d_forward().prepare(c.p, {kGpu, c.p.dtype, c.engine}).kernel;
  const Tensor x = on_gpu(d.x, c.p.dtype, "x"), x2 = c.p.c2 ? on_gpu(d.x2, c.p.dtype, "x2") : Tensor(),
               w = on_gpu(d.w, DType::f32, "w"), b = on_gpu(d.b, DType::f32, "b"),
               packed = bytes_on(kGpu, kernel->packed_bytes(), "packed"),
               scratch = bytes_on(kGpu, kernel->scratch_bytes(), "scratch"),
               y = Tensor::empty(c.p.y_shape(), c.p.dtype, kGpu, "y");
  Stream stream(kGpu);
  kernel->pack(stream, w.view(), b.view(), packed.view().data);
  if (!moments) {
    kernel->run(stream, x.view(), x2.view(), packed.view().data, y.view(), scratch.view().data);
    return {in_double(y), {}};
  }
  EXPECT_GT(kernel->moment_chunks(), 0);
  const Tensor out =
      Tensor::empty(moments_shape(c.p.n, c.p.k, kernel->moment_chunks()), DType::f32, kGpu, "moments of y");
  kernel->run_with_moments(stream, x.view(), x2.view(), packed.view().data, y.view(), out.view(), scratch.view().data);
  return {in_double(y), in_double(out)};
}

struct Statistics {
  double count = 0, mean = 0, square = 0;
  void merge(double more, double other, double other_square) {
    if (more == 0) return;
    const double apart = other - mean, share = more / (count + more);
    mean += apart * share;
    square += other_square + apart * apart * count * share;
    count += more;
  }
};

// As far from those of y as norm_act's own may be.
void expect_moments_of_y(const Given& g, const std::string& what) {
  const Shape s = g.y.shape();
  const int64_t k_count = s[1], voxels = s[2] * s[3] * s[4], chunks = g.moments.shape()[2];
  for (int64_t n = 0; n < s[0]; ++n)
    for (int64_t k = 0; k < k_count; ++k) {
      Statistics expected, got;
      for (int64_t v = 0; v < voxels; ++v) expected.merge(1, g.y.data<double>()[(n * voxels + v) * k_count + k], 0);
      for (int64_t i = 0; i < chunks; ++i) {
        const double* const m = g.moments.data<double>() + ((n * k_count + k) * chunks + i) * 4;
        got.merge(m[3], m[0] + m[1], m[2]);
      }
      const double deviation = std::sqrt(expected.square / static_cast<double>(voxels));
      ASSERT_EQ(got.count, static_cast<double>(voxels)) << what;
      ASSERT_NEAR(got.mean, expected.mean, kC * kSingle * deviation) << what << " channel " << k;
      ASSERT_NEAR(got.square, expected.square, 2 * kC * kSingle * expected.square) << what << " channel " << k;
    }
}

std::string text_of(const Case& c) { return sentence(c.engine, ' ', c.p.describe()); }

}  // namespace

TEST(moments, are_those_of_what_is_stored) {
  for (const Case& c : cases()) {
    const Conv3dData d = data_for(c.p, c.p.dtype == DType::f32 ? 1000 : 100);  // deviations from 0
    const Given given = run(c, d);
    expect_moments_of_y(given, text_of(c));
    test::expect_near(given.y, run(c, d, false).y, 0, "y with and without moments, " + text_of(c));
  }
}

TEST(moments, repeat_their_bits_under_every_schedule) {
  std::vector<Case> some{of("native", {1, 4, 4, 24}, {2, 8, 8}, DType::bf16)};
  if (has_hopper()) some.push_back(of("native_hopper", {1, 16, 0, 16}, {9, 2, 17}, DType::bf16));
  for (const Case& c : some) {
    const Conv3dData d = data_for(c.p);
    const Given first = run(c, d);
    under_every_schedule([&] { test::expect_near(run(c, d).moments, first.moments, 0, text_of(c)); });
  }
}

TEST(moments, are_not_given_where_a_tile_is_of_two_samples_or_its_sums_are_parts) {
  const auto chunks = [](Case c) {
    return conv3d_forward().prepare(c.p, {kGpu, c.p.dtype, c.engine}).kernel->moment_chunks();
  };
  Case c = of("native", {2, 8, 0, 16}, {4, 8, 8}, DType::bf16);
  EXPECT_EQ(chunks(c), 2);
  c.p.moments = false;
  EXPECT_EQ(chunks(c), 0);
  EXPECT_EQ(chunks(of("native", {2, 8, 0, 16}, {4, 8, 9}, DType::bf16)), 0);
  EXPECT_EQ(chunks(of("native", {2, 8, 0, 15}, {4, 8, 8}, DType::bf16)), 0);   // pieces of 16 bytes
  EXPECT_EQ(chunks(of("native", {2, 64, 0, 16}, {4, 8, 8}, DType::bf16)), 0);  // split along K
}

// A choice made for a convolution alone must not be found for one whose moments are wanted.
TEST(moments, are_in_the_key_of_trials_and_timed_with_their_norm) {
  const Case c = of("native", {2, 16, 0, 16}, {4, 8, 8}, DType::bf16);
  Conv3dProblem plain = c.p;
  plain.moments = false;
  EXPECT_NE(c.p.describe(), plain.describe());
  int given = 0, others = 0;
  for (const DType t : kTypes)
    for (const auto& engine : conv3d_forward().engines()) {
      Conv3dProblem p = c.p;
      p.dtype = t;
      if (t == DType::f32) p.k = 15;
      if (engine.device != kGpu.kind || engine.declines(p)) continue;
      const auto kernel = engine.make(p);
      const Measured m = conv3d_forward_trial(p)(*kernel, 0);
      EXPECT_LT(m.error, largest_error(t, false)) << engine.name;
      EXPECT_GE(m.error, 0) << engine.name;
      ++(kernel->moment_chunks() ? given : others);
    }
  EXPECT_GE(given, 2);
  EXPECT_GE(others, 1);
}

namespace {

// Two convolutions, each with its norm. Not fused: something lies between them that changes no bit.
struct Network {
  Graph graph;
  Value x, y, loss;
  Tensor values, grads;
  uint64_t version = 1;
  explicit Network(bool fused) {
    int64_t first = 0;
    const auto parameter = [&](const std::string& name, const Shape& shape) {
      const Value v = graph.parameter(name, shape, first);
      first += (shape.size() + 15) / 16 * 16;
      return v;
    };
    const auto block = [&](Value in, const std::string& name, int64_t k, const Int3& stride) {
      const Value w = parameter(name + "w", {k, in.shape()[1], 3, 3, 3}), gamma = parameter(name + "gamma", {k}),
                  beta = parameter(name + "beta", {k});
      Value h = conv3d(in, {}, w, {}, {stride, {1, 1, 1}});
      if (!fused) h = add(h, cast(graph.parameter("zero", h.shape(), kZeros)));
      return norm_act(h, gamma, beta, 0.01, 1e-5, name == "second" ? 4 : 0);
    };
    x = graph.input("x", {{2, 4, 8, 8, 8}, Kind::activation});
    y = block(block(x, "first", 16, {1, 1, 1}), "second", 16, {2, 1, 1});
    loss = weighted_sum(y);
    check(first <= kZeros, "more parameters");
    const Tensor host = Tensor::zeros({kZeros + 16384}, DType::f32);
    Random random(8, 1);
    for (int64_t i = 0; i < first; ++i) host.data<float>()[i] = static_cast<float>(random.normal());
    values = host.to(kGpu);
    grads = Tensor::zeros(host.shape(), DType::f32, kGpu, "gradients");
  }
  static constexpr int64_t kZeros = 16384;
};

struct Passed {
  Tensor y, grads;
  int moments = 0;  // buffers
};
Passed train(bool fused, DType dtype, Placement placement) {
  Network net(fused);
  const auto arena = std::make_shared<Arena>(kGpu);
  Program program(net.graph, {net.loss, net.y}, Mode::train, {kGpu, dtype},
                  {net.values.view(), net.grads.view(), &net.version}, arena, placement);
  Stream stream(kGpu);
  Random random(9, 1);
  program.set(stream, net.x,
              test::converted(test::normal_numbers(net.x.shape(), random, DType::f32), DType::f32).view());
  program.run(stream);
  Passed passed{in_double(program.read(stream, net.y)), {}, 0};
  test::wait_for_gpu();
  const Tensor grads = net.grads.to({});
  passed.grads = test::converted(grads.slice(0, 16 * 108 + 32 + 16 * 432 + 32), DType::f64);
  for (const Buffer& b : program.plan().buffers())
    if (b.role == Buffer::Role::moments) {
      EXPECT_TRUE(b.lives());
      EXPECT_EQ(b.last, b.first + 1);  // dead behind the norm
      ++passed.moments;
    }
  return passed;
}

}  // namespace

TEST(moments, pass_from_convolutions_to_norms_in_a_program) {
  for (const DType dtype : kTypes) {
    SCOPED_TRACE(name_of(dtype));
    const Passed fused = train(true, dtype, Placement::arena), guarded = train(true, dtype, Placement::guarded),
                 apart = train(false, dtype, Placement::guarded);
    EXPECT_EQ(fused.moments, dtype == DType::f32 ? 1 : 2);  // in f32 the second's K is split
    EXPECT_EQ(apart.moments, 0);
    test::expect_near(guarded.y, fused.y, 0, "y, guarded");
    test::expect_near(guarded.grads, fused.grads, 0, "gradients, guarded");
    const double rounding = test::unit_roundoff(dtype);
    // A number of the first norm may round to its neighbour, which the second sees.
    test::expect_near(fused.y, apart.y, (kC * kSingle + 2 * rounding) * test::largest(apart.y), "y");
    EXPECT_LT(test::apart(fused.grads, apart.grads), kC * kSingle + 2 * rounding);
  }
}

TEST(moments, leave_a_program_for_inference_its_bits) {
  Network net(true);
  std::vector<Tensor> y;
  for (const Placement placement : {Placement::arena, Placement::guarded}) {
    Program program(net.graph, {net.y}, Mode::infer, {kGpu, DType::bf16}, {net.values.view(), {}, &net.version},
                    std::make_shared<Arena>(kGpu), placement);
    Stream stream(kGpu);
    Random random(9, 1);
    program.set(stream, net.x,
                test::converted(test::normal_numbers(net.x.shape(), random, DType::f32), DType::f32).view());
    for (int twice = 0; twice < 2; ++twice) {
      program.run(stream);
      y.push_back(in_double(program.read(stream, net.y)));
    }
  }
  for (const Tensor& t : y) test::expect_near(t, y[0], 0, "y");
}

}  // namespace metvox
