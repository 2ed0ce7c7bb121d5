// SPDX-License-Identifier: Apache-2.0
// Engine `native_hopper` of conv3d on the simulated GPU against the reference in double: exactly, on whole numbers.
#include "kernels/conv3d.h"
#include "tests/kernels/cuda/sim_tensor.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox {
namespace {

using test::in_double;
using test::kSim;
using test::on_sim;

// Tensors of one problem, on its device; x2 and dx2 are empty without a second input.
struct Data {
  Tensor x, x2, w, b, dy;
};
struct Results {
  Tensor y, dx, dx2, dw, db;
};

Data whole(const Conv3dProblem& p, uint64_t seed) {
  Random random(seed, 0);
  const auto numbers = [&](const Shape& shape) { return test::whole_numbers(shape, random); };
  Data d{numbers(p.x_shape()), {}, numbers(p.w_shape()), test::whole_numbers({p.k}, random, 3), numbers(p.y_shape())};
  if (p.c2) d.x2 = numbers(p.x2_shape());
  return d;
}

Data normal(const Conv3dProblem& p, uint64_t seed) {
  Random random(seed, 0);
  const auto numbers = [&](const Shape& shape) { return test::normal_numbers(shape, random, DType::f32); };
  Data d{numbers(p.x_shape()),
         {},
         test::normal_numbers(p.w_shape(), random, DType::f32),
         numbers({p.k}),
         numbers(p.y_shape())};
  if (p.c2) d.x2 = numbers(p.x2_shape());
  return d;
}

// With the engine `native_hopper` on the simulated GPU, else the reference. What is added to starts as 5.
Results results_of(const Conv3dProblem& p, const Data& d, Grad grad = Grad::overwrite, Grad grad2 = Grad::overwrite) {
  const Target target{p.device, p.dtype, p.device.is_cpu() ? "reference" : "native_hopper"};
  const auto placed = [&](const Tensor& from, DType dtype, const char* name) {
    return p.device.is_cpu() || !from ? from : on_sim(from, dtype, name);
  };
  const auto empty = [&](const Shape& shape, DType dtype, const char* name) {
    return Tensor::empty(shape, dtype, p.device, name);
  };
  const auto bytes = [&](size_t n, const char* name) { return empty({static_cast<int64_t>(n)}, DType::u8, name); };
  const auto gradient = [&](Grad how, const Shape& shape, DType dtype, const char* name) {
    if (how == Grad::ignore) return Tensor();
    return how == Grad::accumulate ? placed(test::filled(shape, DType::f64, 5), dtype, name)
                                   : empty(shape, dtype, name);
  };
  const Tensor x = placed(d.x, p.dtype, "x"), x2 = placed(d.x2, p.dtype, "x2"), w = placed(d.w, p.master(), "w"),
               b = placed(d.b, p.master(), "b"), dy = placed(d.dy, p.dtype, "dy"), y = empty(p.y_shape(), p.dtype, "y"),
               dx = gradient(grad, p.x_shape(), p.dtype, "dx"),
               dx2 = p.c2 ? gradient(grad2, p.x2_shape(), p.dtype, "dx2") : Tensor();
  Stream stream(p.device);

  const auto forward = conv3d_forward().prepare(p, target).kernel;
  const Tensor packed = bytes(forward->packed_bytes(), "packed"), scratch = bytes(forward->scratch_bytes(), "scratch");
  forward->pack(stream, w.view(), b.view(), packed.view().data);
  forward->run(stream, x.view(), x2.view(), packed.view().data, y.view(), scratch.view().data);

  const auto backward = conv3d_backward_data().prepare(p, target).kernel;
  const Tensor flipped = bytes(backward->packed_bytes(), "packed"),
               scratch2 = bytes(backward->scratch_bytes(), "scratch");
  backward->pack(stream, w.view(), flipped.view().data);
  backward->run(stream, dy.view(), flipped.view().data, dx.view(), grad, dx2.view(), p.c2 ? grad2 : Grad::ignore,
                scratch2.view().data);

  const auto weights = conv3d_backward_weights().prepare(p, target).kernel;
  const Tensor scratch3 = bytes(weights->scratch_bytes(), "scratch"),
               dw = gradient(grad, p.w_shape(), p.master(), "dw"), db = gradient(grad, {p.k}, p.master(), "db");
  weights->run(stream, x.view(), x2.view(), dy.view(), dw.view(), db.view(), grad, scratch3.view().data);

  const auto read = [](const Tensor& t) { return t ? in_double(t) : Tensor(); };
  return {read(y), read(dx), read(dx2), read(dw), p.bias ? read(db) : Tensor()};
}

Conv3dProblem in_reference(Conv3dProblem p) {
  p.dtype = DType::f64, p.device = {};
  return p;
}

void expect_same(const Results& got, const Results& expected, const std::string& what) {
  test::expect_near(got.y, expected.y, 0, "y " + what);
  if (expected.dx) test::expect_near(got.dx, expected.dx, 0, "dx " + what);
  if (expected.dx2) test::expect_near(got.dx2, expected.dx2, 0, "dx2 " + what);
  test::expect_near(got.dw, expected.dw, 0, "dw " + what);
  if (expected.db) test::expect_near(got.db, expected.db, 0, "db " + what);
}

void expect_exact(const Conv3dProblem& p, uint64_t seed, Grad grad = Grad::overwrite, Grad grad2 = Grad::overwrite) {
  const Data d = whole(p, seed);
  const Results expected = results_of(in_reference(p), d, grad, grad2);
  ASSERT_LE(test::largest(expected.y), 256) << "the test's own sums are not exact in bf16";
  ASSERT_LE(test::largest(expected.dx), 256) << "the test's own sums are not exact in bf16";
  expect_same(results_of(p, d, grad, grad2), expected, p.describe());
}

// n, c, c2, k.
Conv3dProblem with(std::initializer_list<int64_t> nck, Int3 in, DType dtype, bool bias = true) {
  const auto* v = nck.begin();
  return {.n = v[0], .c = v[1], .c2 = v[2], .k = v[3], .in = in, .bias = bias, .dtype = dtype, .device = kSim};
}

double apart(const Tensor& got, const Tensor& expected) {
  Tensor difference = got.clone();
  for (int64_t i = 0; i < got.size(); ++i) difference.data<double>()[i] -= expected.data<double>()[i];
  return test::root_mean_square(difference) / test::root_mean_square(expected);
}

std::string chosen(const Conv3dProblem& p) {
  return std::string(conv3d_forward().prepare(p, {p.device, p.dtype, ""}).engine);
}

}  // namespace

TEST(conv3d_hopper, is_exact_on_each_tile_and_ragged_extents) {
  expect_exact(with({2, 16, 0, 16}, {3, 5, 17}, DType::bf16), 1);
  expect_exact(with({1, 32, 0, 32}, {2, 19, 6}, DType::f16), 2);
  expect_exact(with({1, 16, 0, 32}, {4, 3, 5}, DType::bf16, false), 3);
  expect_exact(with({1, 32, 0, 16}, {3, 4, 7}, DType::f16), 4);
  expect_exact(with({1, 64, 0, 64}, {2, 3, 9}, DType::bf16), 5);
  expect_exact(with({1, 48, 0, 48}, {2, 9, 3}, DType::bf16), 6);
}

TEST(conv3d_hopper, is_exact_on_one_plane_and_on_segments_of_depth) {
  expect_exact(with({2, 16, 0, 16}, {1, 16, 16}, DType::bf16), 7);
  expect_exact(with({1, 32, 0, 32}, {1, 1, 1}, DType::f16), 8);
  expect_exact(with({2, 16, 0, 16}, {17, 3, 4}, DType::bf16), 9);
}

TEST(conv3d_hopper, is_exact_on_two_inputs) {
  expect_exact(with({1, 16, 32, 32}, {3, 5, 6}, DType::bf16), 10);
  expect_exact(with({2, 32, 32, 32}, {2, 5, 3}, DType::f16), 11);
  expect_exact(with({1, 64, 64, 64}, {2, 3, 4}, DType::bf16), 12);
}

// So many pairs of channel tiles leave two blocks each to the gradient of the weights: one takes two samples.
TEST(conv3d_hopper, is_exact_on_more_samples_than_blocks) {
  expect_exact(with({3, 112, 0, 112}, {1, 2, 2}, DType::bf16), 17);
}

TEST(conv3d_hopper, adds_overwrites_or_leaves_gradients_alone) {
  const auto p = with({1, 16, 16, 32}, {2, 4, 17}, DType::bf16);
  expect_exact(p, 13, Grad::accumulate, Grad::overwrite);
  expect_exact(p, 14, Grad::overwrite, Grad::accumulate);
  expect_exact(p, 15, Grad::accumulate, Grad::ignore);
}

TEST(conv3d_hopper, rounds_as_its_type_does) {
  for (auto [dtype, limit] : {std::pair{DType::f16, 1e-3}, {DType::bf16, 1e-2}}) {
    const auto p = with({1, 32, 32, 32}, {3, 5, 6}, dtype);
    const Data d = normal(p, 5);
    const Results got = results_of(p, d), expected = results_of(in_reference(p), d);
    EXPECT_LT(apart(got.y, expected.y), limit) << name_of(dtype);
    EXPECT_LT(apart(got.dx, expected.dx), limit) << name_of(dtype);
    EXPECT_LT(apart(got.dx2, expected.dx2), limit) << name_of(dtype);
    EXPECT_LT(apart(got.dw, expected.dw), limit) << name_of(dtype);
    EXPECT_LT(apart(got.db, expected.db), limit) << name_of(dtype);
  }
}

TEST(conv3d_hopper, gives_one_answer_under_every_schedule) {
  const auto p = with({1, 16, 16, 16}, {4, 3, 18}, DType::bf16);
  const Data d = whole(p, 16);
  const Results expected = results_of(in_reference(p), d);
  under_every_schedule([&] { expect_same(results_of(p, d), expected, p.describe()); });
}

TEST(conv3d_hopper, is_chosen_where_it_can) {
  auto p = with({1, 16, 0, 32}, {4, 4, 4}, DType::bf16);
  EXPECT_EQ(chosen(p), "native_hopper");
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
