// SPDX-License-Identifier: Apache-2.0
// Engine `native_hopper` of conv3d on the GPU against the reference in double: exactly, on whole numbers.
#include "tests/kernels/cuda/conv3d_runs.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox {
namespace {

using test::apart;
using test::Conv3dData;
using test::Conv3dGrads;
using test::Conv3dResults;
using test::expect_same;
using test::expected_for;
using test::kGpu;
using test::normal;
using test::whole;

Conv3dResults results_of(const Conv3dProblem& p, const Conv3dData& d, Conv3dGrads how = {}) {
  return test::results_of(p, d, "native_hopper", how);
}

void expect_exact(const Conv3dProblem& p, uint64_t seed, Conv3dGrads how = {}) {
  const Conv3dData d = whole(p, seed);
  const Conv3dResults expected = expected_for(p, d, how);
  ASSERT_LE(test::largest(expected.y), 256) << "the test's own sums are not exact in bf16";
  ASSERT_LE(test::largest(expected.dx), 256) << "the test's own sums are not exact in bf16";
  expect_same(results_of(p, d, how), expected, p.describe());
}

// n, c, c2, k.
Conv3dProblem with(std::initializer_list<int64_t> nck, Int3 in, DType dtype, bool bias = true) {
  const auto* v = nck.begin();
  return {.n = v[0], .c = v[1], .c2 = v[2], .k = v[3], .in = in, .bias = bias, .dtype = dtype, .device = kGpu};
}

std::string chosen(const Conv3dProblem& p) {
  return std::string(conv3d_forward().prepare(p, {p.device, p.dtype, ""}).engine);
}

class conv3d_hopper : public testing::Test {
  void SetUp() override {
    if (driver(kGpu).facts(kGpu.index).arch != 900) GTEST_SKIP() << "needs sm_90";
  }
};

}  // namespace

TEST_F(conv3d_hopper, is_exact_on_each_tile_and_ragged_extents) {
  expect_exact(with({2, 16, 0, 16}, {3, 5, 17}, DType::bf16), 1);
  expect_exact(with({1, 32, 0, 32}, {2, 19, 6}, DType::f16), 2);
  expect_exact(with({1, 16, 0, 32}, {4, 3, 5}, DType::bf16, false), 3);
  expect_exact(with({1, 32, 0, 16}, {3, 4, 7}, DType::f16), 4);
  expect_exact(with({1, 64, 0, 64}, {2, 3, 9}, DType::bf16), 5);
  expect_exact(with({1, 48, 0, 48}, {2, 9, 3}, DType::bf16), 6);
}

TEST_F(conv3d_hopper, is_exact_on_one_plane_and_on_segments_of_depth) {
  expect_exact(with({2, 16, 0, 16}, {1, 16, 16}, DType::bf16), 7);
  expect_exact(with({1, 32, 0, 32}, {1, 1, 1}, DType::f16), 8);
  expect_exact(with({2, 16, 0, 16}, {17, 3, 4}, DType::bf16), 9);
}

TEST_F(conv3d_hopper, is_exact_on_two_inputs) {
  expect_exact(with({1, 16, 32, 32}, {3, 5, 6}, DType::bf16), 10);
  expect_exact(with({2, 32, 32, 32}, {2, 5, 3}, DType::f16), 11);
  expect_exact(with({1, 64, 64, 64}, {2, 3, 4}, DType::bf16), 12);
}

// So many pairs of channel tiles leave two blocks each to the gradient of the weights: one takes two samples.
TEST_F(conv3d_hopper, is_exact_on_more_samples_than_blocks) {
  expect_exact(with({3, 112, 0, 112}, {1, 2, 2}, DType::bf16), 17);
}

TEST_F(conv3d_hopper, adds_overwrites_or_leaves_gradients_alone) {
  const auto p = with({1, 16, 16, 32}, {2, 4, 17}, DType::bf16);
  expect_exact(p, 13, {Grad::accumulate, Grad::overwrite});
  expect_exact(p, 14, {Grad::overwrite, Grad::accumulate});
  expect_exact(p, 15, {Grad::accumulate, Grad::ignore});
}

TEST_F(conv3d_hopper, rounds_as_its_type_does) {
  for (auto [dtype, limit] : {std::pair{DType::f16, 1e-3}, {DType::bf16, 1e-2}}) {
    const auto p = with({1, 32, 32, 32}, {3, 5, 6}, dtype);
    const Conv3dData d = normal(p, 5);
    const Conv3dResults got = results_of(p, d), expected = expected_for(p, d);
    EXPECT_LT(apart(got.y, expected.y), limit) << name_of(dtype);
    EXPECT_LT(apart(got.dx, expected.dx), limit) << name_of(dtype);
    EXPECT_LT(apart(got.dx2, expected.dx2), limit) << name_of(dtype);
    EXPECT_LT(apart(got.dw, expected.dw), limit) << name_of(dtype);
    EXPECT_LT(apart(got.db, expected.db), limit) << name_of(dtype);
  }
}

TEST_F(conv3d_hopper, gives_one_answer_under_every_schedule) {
  const auto p = with({1, 16, 16, 16}, {4, 3, 18}, DType::bf16);
  const Conv3dData d = whole(p, 16);
  const Conv3dResults expected = expected_for(p, d);
  under_every_schedule([&] { expect_same(results_of(p, d), expected, p.describe()); });
}

TEST_F(conv3d_hopper, is_chosen_where_it_can) {
  auto p = with({1, 16, 0, 32}, {4, 4, 4}, DType::bf16);
  EXPECT_EQ(chosen(p), "native_hopper");
  if (!test::kSimulated) GTEST_SKIP() << "a real GPU's engine is found by trials";
  const auto before = simt::options();
  for (int arch : {800, 1000}) {
    simt::options().arch = arch;
    EXPECT_EQ(chosen(p), "native");
  }
  simt::options() = before;
  p.dtype = DType::f32;
  EXPECT_EQ(chosen(p), "native");
  p.dtype = DType::f16, p.c = 4;
  EXPECT_EQ(chosen(p), "native");
  p.c = 256;
  EXPECT_EQ(chosen(p), "native");
  p.c = 32, p.stride = {2, 2, 2};
  EXPECT_EQ(chosen(p), "native");
}

}  // namespace metvox
