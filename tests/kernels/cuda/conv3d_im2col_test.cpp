// SPDX-License-Identifier: Apache-2.0
// Engine `native_im2col` of conv3d on the GPU against the reference in double: exactly, on whole numbers. It
// has no gradients of weights: those of the runs are another engine's.
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

Conv3dResults results_of(const Conv3dProblem& p, const Conv3dData& d, Conv3dGrads how = {}) {
  return test::results_of(p, d, "native_im2col", how);
}

void expect_exact(const Conv3dProblem& p, uint64_t seed, Conv3dGrads how = {}) {
  const Conv3dData d = test::whole(p, seed);
  const Conv3dResults expected = expected_for(p, d, how);
  ASSERT_LE(test::largest(expected.y), 256) << "the test's own sums are not exact in bf16";
  ASSERT_LE(test::largest(expected.dx), 256) << "the test's own sums are not exact in bf16";
  expect_same(results_of(p, d, how), expected, p.describe());
}

// n, c, c2, k; a kernel of 3 or 1 along each axis, padded.
Conv3dProblem with(std::initializer_list<int64_t> nck, Int3 in, Int3 kernel, Int3 stride, DType dtype) {
  const auto* v = nck.begin();
  Conv3dProblem p{.n = v[0], .c = v[1], .c2 = v[2], .k = v[3], .in = in, .kernel = kernel, .stride = stride};
  for (int a = 0; a < 3; ++a) p.pad[a] = kernel[a] / 2;
  p.bias = true, p.dtype = dtype, p.device = kGpu;
  return p;
}

constexpr Int3 kOne{1, 1, 1}, kTwo{2, 2, 2}, kFlat{1, 3, 3}, kCube{3, 3, 3};

template <class Table>
std::string chosen(const Table& table, const Conv3dProblem& p) {
  return std::string(table.prepare(p, {p.device, p.dtype, ""}).engine);
}

class conv3d_im2col : public testing::Test {
  void SetUp() override {
    if (driver(kGpu).facts(kGpu.index).arch != 900) GTEST_SKIP() << "needs sm_90";
  }
};

}  // namespace

TEST_F(conv3d_im2col, is_exact_on_each_tile_and_ragged_extents) {
  expect_exact(with({2, 128, 0, 128}, {2, 3, 3}, kFlat, kOne, DType::bf16), 1);      // 128 x 128
  expect_exact(with({2, 64, 0, 64}, {3, 5, 9}, kFlat, kOne, DType::f16), 2);         // 256 x 128
  expect_exact(with({1, 256, 0, 256}, {1, 5, 3}, {1, 1, 3}, kOne, DType::bf16), 3);  // 128 x 256
  expect_exact(with({1, 64, 0, 192}, {2, 3, 4}, kOne, kOne, DType::f16), 4);
}

TEST_F(conv3d_im2col, is_exact_on_any_eights_of_outputs) {
  const auto p = with({1, 64, 0, 72}, {1, 3, 4}, kFlat, kOne, DType::bf16);
  const Conv3dData d = test::whole(p, 16);
  test::expect_near(test::Conv3dRunner(p, d, "native_im2col").forward(), expected_for(p, d).y, 0, p.describe());
}

TEST_F(conv3d_im2col, is_exact_where_few_rows_split_the_sums) {
  expect_exact(with({1, 128, 0, 128}, {3, 2, 4}, kCube, kOne, DType::bf16), 5);
}

TEST_F(conv3d_im2col, is_exact_at_stride_2_and_of_its_parities) {
  expect_exact(with({1, 64, 0, 64}, {3, 4, 5}, kCube, kTwo, DType::bf16), 6);
  expect_exact(with({2, 64, 0, 128}, {2, 6, 7}, kFlat, {1, 2, 2}, DType::f16), 7);
  expect_exact(with({1, 64, 0, 64}, {1, 1, 1}, kCube, kTwo, DType::bf16), 8);
}

TEST_F(conv3d_im2col, is_exact_without_padding_and_with_too_much) {
  auto p = with({1, 64, 0, 64}, {3, 4, 5}, kFlat, kOne, DType::bf16);
  p.pad = {0, 0, 0};
  expect_exact(p, 9);
  p.pad = {1, 2, 2};
  expect_exact(p, 10);
}

TEST_F(conv3d_im2col, is_exact_on_two_inputs) {
  expect_exact(with({2, 64, 128, 64}, {2, 3, 5}, kFlat, kOne, DType::bf16), 11);
}

TEST_F(conv3d_im2col, adds_overwrites_or_leaves_gradients_alone) {
  const auto p = with({1, 64, 64, 64}, {2, 3, 4}, kFlat, kOne, DType::bf16);
  expect_exact(p, 12, {Grad::accumulate, Grad::overwrite});
  expect_exact(p, 13, {Grad::overwrite, Grad::accumulate});
  expect_exact(p, 14, {Grad::accumulate, Grad::ignore});
}

TEST_F(conv3d_im2col, rounds_as_its_type_does) {
  for (auto [dtype, limit] : {std::pair{DType::f16, 1e-3}, {DType::bf16, 1e-2}}) {
    const auto p = with({1, 128, 0, 64}, {2, 3, 4}, kCube, kOne, dtype);
    const Conv3dData d = test::normal(p, 5);
    const Conv3dResults got = results_of(p, d), expected = expected_for(p, d);
    EXPECT_LT(apart(got.y, expected.y), limit) << name_of(dtype);
    EXPECT_LT(apart(got.dx, expected.dx), limit) << name_of(dtype);
  }
}

TEST_F(conv3d_im2col, gives_one_answer_under_every_schedule) {
  const auto p = with({1, 64, 64, 64}, {2, 3, 4}, kCube, kTwo, DType::bf16);
  const Conv3dData d = test::whole(p, 15);
  const Conv3dResults expected = expected_for(p, d);
  under_every_schedule([&] { expect_same(results_of(p, d), expected, p.describe()); });
}

TEST_F(conv3d_im2col, is_chosen_where_it_can) {
  if (!test::kSimulated) GTEST_SKIP() << "a real GPU's engine is found by trials";
  auto p = with({1, 128, 0, 128}, {4, 4, 4}, kCube, kOne, DType::bf16);
  for (const Int3& stride : {kOne, kTwo}) {
    p.stride = stride;
    EXPECT_EQ(chosen(conv3d_forward(), p), "native_im2col");
    EXPECT_EQ(chosen(conv3d_backward_data(), p), "native_im2col");
  }
  const auto before = simt::options();
  for (int arch : {800, 1000}) {
    simt::options().arch = arch;
    EXPECT_EQ(chosen(conv3d_forward(), p), "native");
  }
  simt::options() = before;
  p.dtype = DType::f32;
  EXPECT_EQ(chosen(conv3d_forward(), p), "native");
  p.dtype = DType::f16, p.c = 96;
  EXPECT_EQ(chosen(conv3d_forward(), p), "native");
  p.c = 64, p.k = 64, p.stride = kOne;
  EXPECT_EQ(chosen(conv3d_forward(), p), "native_hopper");
}

}  // namespace metvox
