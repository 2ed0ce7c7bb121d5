// SPDX-License-Identifier: Apache-2.0
// Engine `native` of conv3d on the GPU against the reference in double: exactly where sums are exact, by norm
// on numbers that round.
#include <ctime>

#include "tests/kernels/cuda/conv3d_runs.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox {
namespace {

using test::apart;
using test::bytes_on;
using test::Conv3dData;
using test::Conv3dResults;
using test::expect_same;
using test::expected_for;
using test::in_double;
using test::kGpu;
using test::normal;
using test::on_gpu;
using test::whole;

const DType kTypes[] = {DType::f32, DType::bf16, DType::f16};

Conv3dResults results_of(const Conv3dProblem& p, const Conv3dData& d, Grad grad = Grad::overwrite) {
  return test::results_of(p, d, "native", {grad});
}

Conv3dProblem on_gpu(Conv3dProblem p, DType dtype, bool tf32 = false) {
  p.dtype = dtype, p.device = kGpu, p.tf32 = tf32;
  return p;
}

// Every type, f32 also as tf32; gradients are added to in the last one.
void expect_exact(const Conv3dProblem& p, uint64_t seed, std::initializer_list<DType> types) {
  const Conv3dData d = whole(p, seed);
  const auto expect_passes = [&](DType dtype, bool tf32, Grad grad, const Conv3dResults& expected) {
    const Conv3dProblem q = on_gpu(p, dtype, tf32);
    expect_same(results_of(q, d, grad), expected, sentence(q.describe(), " seed ", seed));
  };
  const Conv3dResults expected = expected_for(p, d);
  ASSERT_LE(test::largest(expected.y), 256) << "the test's own sums are not exact in bf16";
  for (DType dtype : types) {
    expect_passes(dtype, false, Grad::overwrite, expected);
    if (dtype == DType::f32 && test::has_tf32()) expect_passes(dtype, true, Grad::overwrite, expected);
  }
  expect_passes(*std::prev(types.end()), false, Grad::accumulate, expected_for(p, d, {Grad::accumulate}));
}

Conv3dProblem with(std::initializer_list<int64_t> nck, Int3 in, Int3 kernel = {3, 3, 3}, Int3 stride = {1, 1, 1},
                   Int3 pad = {1, 1, 1}, bool bias = true) {
  const auto* v = nck.begin();
  return {.n = v[0],
          .c = v[1],
          .c2 = v[2],
          .k = v[3],
          .in = in,
          .kernel = kernel,
          .stride = stride,
          .pad = pad,
          .bias = bias};
}

}  // namespace

// n, c, c2, k.
TEST(conv3d, is_exact_on_the_shapes_of_networks) {
  const auto types = {DType::f32, DType::bf16, DType::f16};
  expect_exact(with({2, 16, 0, 16}, {4, 5, 6}), 1, types);
  expect_exact(with({1, 4, 0, 32}, {3, 4, 7}), 2, types);
  expect_exact(with({1, 16, 8, 32}, {3, 4, 5}), 3, types);
  expect_exact(with({1, 32, 0, 64}, {4, 6, 5}, {3, 3, 3}, {2, 2, 2}), 4, types);
  expect_exact(with({1, 8, 0, 16}, {3, 6, 5}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}), 5, types);
  expect_exact(with({2, 32, 0, 3}, {3, 4, 5}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}), 6, types);
  expect_exact(with({1, 16, 0, 7}, {2, 3, 5}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}), 9, types);
  expect_exact(with({1, 64, 64, 72}, {2, 2, 2}), 7, {DType::f32, DType::bf16});  // split along K
  expect_exact(with({1, 24, 0, 144}, {2, 3, 3}), 8, {DType::bf16});              // two tiles of 128 columns
}

TEST(conv3d, is_exact_on_odd_channels_and_corners) {
  const auto types = {DType::f32, DType::bf16, DType::f16};
  expect_exact(with({2, 5, 3, 7}, {3, 4, 5}), 11, types);
  expect_exact(with({1, 1, 0, 1}, {1, 1, 1}), 12, types);
  expect_exact(with({1, 33, 0, 17}, {2, 3, 4}, {3, 3, 3}, {2, 1, 2}), 13, types);
  expect_exact(with({3, 8, 0, 8}, {1, 1, 70}, {3, 3, 3}, {1, 1, 2}), 14, types);
  expect_exact(with({1, 8, 4, 20}, {4, 4, 4}, {1, 1, 1}, {2, 2, 2}, {0, 0, 0}), 15, types);  // voxels without a tap
  expect_exact(with({1, 12, 0, 6}, {5, 5, 5}, {3, 3, 3}, {2, 2, 2}, {0, 0, 0}), 16, types);
}

TEST(conv3d, is_exact_on_random_problems) {
  Random random(2026, 11);
  const auto one_of = [&](std::initializer_list<int64_t> list) {
    return list.begin()[random.below(static_cast<int64_t>(list.size()))];
  };
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Conv3dProblem p{.n = one_of({1, 2, 3}),
                    .c = one_of({1, 3, 4, 8, 12, 16, 17}),
                    .c2 = one_of({0, 0, 1, 8, 16}),
                    .k = one_of({1, 2, 3, 5, 8, 16, 20, 40})};
    for (int a = 0; a < 3; ++a) {
      p.in[a] = 1 + random.below(7);
      p.kernel[a] = one_of({1, 3});
      p.stride[a] = one_of({1, 1, 2});
      p.pad[a] = one_of({0, 1, 2});
    }
    p.bias = random.below(2) == 1;
    const Int3 out = p.out();
    if (std::min({out[0], out[1], out[2]}) < 1) continue;
    expect_exact(p, seed, {kTypes[seed % 3]});
    if (HasFatalFailure()) return;
  }
}

TEST(conv3d, rounds_as_its_type_does) {
  for (const Conv3dProblem& p : {with({1, 32, 32, 32}, {4, 5, 6}), with({1, 64, 0, 64}, {3, 3, 3})}) {
    const Conv3dData d = normal(p, 5);
    const Conv3dResults expected = expected_for(p, d);
    for (auto [dtype, limit] : {std::pair{DType::f32, 1e-5}, {DType::f16, 1e-3}, {DType::bf16, 1e-2}}) {
      const Conv3dResults got = results_of(on_gpu(p, dtype), d);
      EXPECT_LT(apart(got.y, expected.y), limit) << name_of(dtype);
      EXPECT_LT(apart(got.dx, expected.dx), limit) << name_of(dtype);
      EXPECT_LT(apart(got.dw, expected.dw), limit) << name_of(dtype);
      EXPECT_LT(apart(got.db, expected.db), limit) << name_of(dtype);
    }
  }
}

// Numbers of 24 bits in sums of products that may round each factor by 2^-11 of itself: more than f32 rounds, less than
// twice that even where every rounding went the same way. The gradient of the bias has no products.
TEST(conv3d, rounds_factors_where_tf32_is_allowed) {
  if (!test::has_tf32()) GTEST_SKIP() << "tf32 needs sm_80";
  for (const Conv3dProblem& p :
       {with({1, 32, 32, 32}, {4, 5, 6}), with({1, 64, 0, 64}, {3, 3, 3}), with({2, 5, 3, 7}, {3, 4, 5}),
        with({1, 16, 0, 24}, {5, 4, 6}, {3, 3, 3}, {2, 2, 2})}) {
    const Conv3dData d = normal(p, 5);
    const Conv3dResults expected = expected_for(p, d), got = results_of(on_gpu(p, DType::f32, true), d);
    for (const double error : {apart(got.y, expected.y), apart(got.dx, expected.dx), apart(got.dw, expected.dw)}) {
      EXPECT_LT(error, 0x1p-10) << p.describe();
      EXPECT_GT(error, 0x1p-14) << p.describe();
    }
    EXPECT_LT(apart(got.db, expected.db), 1e-5);
  }
}

TEST(conv3d, gives_one_answer_under_every_schedule) {
  const Conv3dProblem p = with({1, 16, 8, 24}, {3, 4, 5}, {3, 3, 3}, {1, 2, 1});
  const Conv3dData d = whole(p, 3);
  const Conv3dResults expected = expected_for(p, d);
  for (DType dtype : kTypes)
    under_every_schedule([&] { expect_same(results_of(on_gpu(p, dtype), d), expected, std::string(name_of(dtype))); });
  if (test::has_tf32())
    under_every_schedule([&] { expect_same(results_of(on_gpu(p, DType::f32, true), d), expected, "tf32"); });
}

// 64 KiB of shared memory a block, f16 alone on tensor cores.
TEST(conv3d, fits_sm_75) {
  if (!test::kSimulated) GTEST_SKIP() << "only the simulated GPU can be an older one";
  const auto before = simt::options();
  simt::options().arch = 750;
  expect_exact(with({1, 24, 0, 128}, {2, 3, 3}), 8, {DType::f32, DType::f16});
  simt::options() = before;
}

TEST(conv3d, leaves_alone_what_is_ignored) {
  const Conv3dProblem p = on_gpu(with({1, 16, 8, 16}, {3, 4, 5}), DType::bf16);
  const Conv3dData d = whole(p, 4);
  const Conv3dResults expected = expected_for(p, d);
  const auto kernel = conv3d_backward_data().prepare(p, {kGpu, p.dtype, "native"}).kernel;
  const Tensor packed = bytes_on(kGpu, kernel->packed_bytes(), "packed"),
               scratch = bytes_on(kGpu, kernel->scratch_bytes(), "scratch"), w = on_gpu(d.w, DType::f32, "w"),
               dy = on_gpu(d.dy, p.dtype, "dy"), dx2 = Tensor::empty(p.x2_shape(), p.dtype, kGpu, "dx2");
  Stream stream(kGpu);
  kernel->pack(stream, w.view(), packed.view().data);
  kernel->run(stream, dy.view(), packed.view().data, {}, Grad::ignore, dx2.view(), Grad::overwrite,
              scratch.view().data);
  test::expect_near(in_double(dx2), expected.dx2, 0, "dx2");
}

TEST(conv3d, declines_what_it_cannot) {
  Conv3dProblem p = on_gpu(with({1, 8, 0, 8}, {4, 4, 4}), DType::bf16);
  const auto refused = [&] {
    for (const auto& e : conv3d_forward().engines())
      if (e.device == kGpu.kind && e.name == "native") return e.declines(p).value_or("");
    return std::string("no such engine");
  };
  EXPECT_EQ(refused(), "");
  const auto before = simt::options();
  simt::options().arch = 750;
  if (test::kSimulated) {
    EXPECT_EQ(refused(), "bf16 needs sm_80");
    p.dtype = DType::f32;
    EXPECT_EQ(refused(), "");
    p.tf32 = true;
    EXPECT_EQ(refused(), "tf32 needs sm_80");
    p.tf32 = false;
  }
  simt::options() = before;
  p.dtype = DType::f64;
  EXPECT_EQ(refused(), "no f64 on a GPU");
  p.dtype = DType::f32, p.kernel = {1, 9, 1};
  EXPECT_NE(refused(), "");
  p.device = {};
  EXPECT_NE(refused(), "");
}

// The figure of the simulator: at most 60 ms plain, 350 ms checked.
TEST(conv3d, of_the_size_that_is_timed) {
  const Conv3dProblem p = on_gpu(with({1, 16, 0, 16}, {16, 16, 16}), DType::bf16);
  const Conv3dData d = whole(p, 6);
  test::Conv3dRunner runner(p, d, "native");
  const std::clock_t start = std::clock();
  const Tensor y = runner.forward();
  RecordProperty("forward_cpu_ms", std::to_string(1000.0 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC));
  Conv3dProblem q = p;
  q.dtype = DType::f64, q.device = {};
  test::expect_near(y, test::Conv3dRunner(q, d, "reference").forward(), 0, "y");
}

}  // namespace metvox
