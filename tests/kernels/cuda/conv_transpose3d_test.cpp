// SPDX-License-Identifier: Apache-2.0
// Engine `native` of conv_transpose3d on the GPU against the reference in double, exactly.
#include "kernels/conv_transpose3d.h"

#include "tests/kernels/cuda/gpu_tensor.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox {
namespace {

using test::kGpu;

// f64, on the host.
struct Data {
  Tensor x, w, b, dy;
};
struct Results {
  Tensor y, dx, dw, db;
};

Tensor bytes_on(Device device, size_t bytes, const char* name) {
  return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, device, name);
}

// All passes. What is added to starts as 5; what is written, as poison.
Results results_of(const ConvTranspose3dProblem& p, const Data& d, Grad grad) {
  Stream stream(p.device);
  const Target target{p.device, p.dtype, p.device.is_cpu() ? "reference" : "native"};
  const auto placed = [&](const Tensor& t, DType dtype, const char* name) {
    return p.device.is_cpu() ? t : test::on_gpu(t, dtype, name);
  };
  const auto gradient = [&](const Shape& shape, DType dtype, const char* name) {
    return grad == Grad::accumulate ? placed(test::filled(shape, DType::f64, 5), dtype, name)
                                    : Tensor::empty(shape, dtype, p.device, name);
  };
  const Tensor x = placed(d.x, p.dtype, "x"), dy = placed(d.dy, p.dtype, "dy"), w = placed(d.w, p.master(), "w"),
               b = placed(d.b, p.master(), "b"), y = Tensor::empty(p.y_shape(), p.dtype, p.device, "y"),
               dx = gradient(p.x_shape(), p.dtype, "dx"), dw = gradient(p.w_shape(), p.master(), "dw"),
               db = gradient({p.k}, p.master(), "db");

  const auto forward = conv_transpose3d_forward().prepare(p, target).kernel;
  const auto data = conv_transpose3d_backward_data().prepare(p, target).kernel;
  const auto weights = conv_transpose3d_backward_weights().prepare(p, target).kernel;
  const auto memory = [&](size_t bytes, const char* name) { return bytes_on(p.device, bytes, name); };
  const Tensor packed = memory(forward->packed_bytes(), "packed"), scratch = memory(forward->scratch_bytes(), "s1"),
               packed_data = memory(data->packed_bytes(), "packed for data"),
               scratch_data = memory(data->scratch_bytes(), "s2"),
               scratch_weights = memory(weights->scratch_bytes(), "s3");
  forward->pack(stream, w.view(), b.view(), packed.view().data);
  forward->run(stream, x.view(), packed.view().data, y.view(), scratch.view().data);
  data->pack(stream, w.view(), packed_data.view().data);
  data->run(stream, dy.view(), packed_data.view().data, dx.view(), grad, scratch_data.view().data);
  weights->run(stream, x.view(), dy.view(), dw.view(), db.view(), grad, scratch_weights.view().data);
  return {test::in_double(y), test::in_double(dx), test::in_double(dw), p.bias ? test::in_double(db) : Tensor()};
}

Data whole(const ConvTranspose3dProblem& p, uint64_t seed) {
  Random random(seed, 1);
  return {test::whole_numbers(p.x_shape(), random), test::whole_numbers(p.w_shape(), random),
          test::whole_numbers({p.k}, random, 3), test::whole_numbers(p.y_shape(), random)};
}

void expect_exact(const ConvTranspose3dProblem& p, uint64_t seed, DType dtype, bool tf32 = false) {
  const Data d = whole(p, seed);
  for (Grad grad : {Grad::overwrite, Grad::accumulate}) {
    const Results expected = results_of(p, d, grad);
    ConvTranspose3dProblem q = p;
    q.dtype = dtype, q.device = kGpu, q.tf32 = tf32;
    const Results got = results_of(q, d, grad);
    const std::string what = sentence(q.describe(), " seed ", seed);
    test::expect_near(got.y, expected.y, 0, "y " + what);
    test::expect_near(got.dx, expected.dx, 0, "dx " + what);
    test::expect_near(got.dw, expected.dw, 0, "dw " + what);
    if (p.bias) test::expect_near(got.db, expected.db, 0, "db " + what);
  }
}

}  // namespace

TEST(conv_transpose3d, is_exact_in_every_type) {
  const ConvTranspose3dProblem problems[] = {
      {.n = 2, .c = 32, .k = 16, .in = {2, 3, 4}, .dtype = DType::f64},
      {.n = 1, .c = 64, .k = 32, .in = {3, 2, 3}, .stride = {1, 2, 2}, .bias = false, .dtype = DType::f64},
      {.n = 1, .c = 5, .k = 3, .in = {3, 4, 5}, .dtype = DType::f64},
      {.n = 3, .c = 12, .k = 20, .in = {1, 1, 3}, .stride = {2, 2, 1}, .dtype = DType::f64},
      {.n = 1, .c = 1, .k = 1, .in = {1, 1, 1}, .stride = {1, 1, 1}, .dtype = DType::f64},
      {.n = 1, .c = 320, .k = 24, .in = {2, 2, 2}, .dtype = DType::f64},
      {.n = 1, .c = 4, .k = 8, .in = {2, 2, 3}, .stride = {3, 1, 2}, .dtype = DType::f64}};
  uint64_t seed = 1;
  for (const auto& p : problems) {
    for (DType dtype : {DType::f32, DType::bf16, DType::f16}) expect_exact(p, seed, dtype);
    if (test::has_tf32()) expect_exact(p, seed, DType::f32, true);
    if (HasFatalFailure()) return;
    ++seed;
  }
}

TEST(conv_transpose3d, gives_one_answer_under_every_schedule) {
  under_every_schedule([] {
    expect_exact({.n = 1, .c = 16, .k = 12, .in = {2, 3, 3}, .dtype = DType::f64}, 9, DType::bf16);
  });
}

// Bounds as in conv3d_test.cpp.
TEST(conv_transpose3d, rounds_factors_where_tf32_is_allowed) {
  if (!test::has_tf32()) GTEST_SKIP() << "tf32 needs sm_80";
  ConvTranspose3dProblem p{.n = 1, .c = 64, .k = 32, .in = {3, 4, 5}, .dtype = DType::f64};
  Random random(7, 1);
  const auto numbers = [&](const Shape& shape) { return test::normal_numbers(shape, random, DType::f32); };
  const Data d{numbers(p.x_shape()), numbers(p.w_shape()), numbers({p.k}), numbers(p.y_shape())};
  const Results expected = results_of(p, d, Grad::overwrite);
  p.dtype = DType::f32, p.device = kGpu, p.tf32 = true;
  const Results got = results_of(p, d, Grad::overwrite);
  for (const double error :
       {test::apart(got.y, expected.y), test::apart(got.dx, expected.dx), test::apart(got.dw, expected.dw)}) {
    EXPECT_LT(error, 0x1p-10);
    EXPECT_GT(error, 0x1p-14);
  }
  EXPECT_LT(test::apart(got.db, expected.db), 1e-5);
}

TEST(conv_transpose3d, declines_what_it_cannot) {
  ConvTranspose3dProblem p{.n = 1, .c = 8, .k = 8, .in = {2, 2, 2}, .stride = {4, 4, 4}, .device = kGpu};
  for (const auto& e : conv_transpose3d_forward().engines()) {
    if (e.device == kGpu.kind && e.name == "native") {
      EXPECT_NE(e.declines(p).value_or(""), "");
    }
  }
}

}  // namespace metvox
