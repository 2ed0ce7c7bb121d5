// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm_act.h"

#include "tensor/threads.h"
#include "tests/support/real_numbers.h"

namespace metvox {
namespace {

using test::GuardedTensor;

// Everything in f64, though exact in the problem's types.
struct Data {
  Tensor x, gamma, beta, dy, start;  // start: of the gradients that are added to
};
struct Results {
  Tensor y, saved, dx, dgamma, dbeta;
};

Data data_for(const NormActProblem& p, double mean = 0.3, double deviation = 1) {
  Random random(7, 1);
  const DType m = p.master();
  return {test::normal_numbers(p.x_shape(), random, p.dtype, mean, deviation),
          test::normal_numbers({p.c}, random, m, 1, 0.3), test::normal_numbers({p.c}, random, m, 0, 0.3),
          test::normal_numbers(p.x_shape(), random, p.dtype), test::normal_numbers(p.x_shape(), random, p.dtype)};
}

Tensor ones(const Shape& shape) { return test::filled(shape, DType::f64, 1); }

void forward(const NormAct& kernel, const NormActProblem& p, const Data& d, Results& r) {
  Stream stream;
  const GuardedTensor x(d.x, p.dtype), gamma(d.gamma, p.master()), beta(d.beta, p.master());
  const GuardedTensor y(test::filled(p.x_shape(), DType::f64, NAN), p.dtype);
  const GuardedTensor saved(test::filled(p.saved_shape(), DType::f64, NAN), p.master());
  test::Guarded scratch(kernel.forward_scratch_bytes());
  kernel.forward(stream, x.view(), {}, gamma.view(), beta.view(), y.view(), saved.view(), scratch.data());
  r.y = y.in_double();
  r.saved = saved.in_double();
}

void backward(const NormAct& kernel, const NormActProblem& p, const Data& d, const Tensor& statistics, Grad grad,
              Results& r) {
  Stream stream;
  const GuardedTensor x(d.x, p.dtype), gamma(d.gamma, p.master()), beta(d.beta, p.master()),
      saved(statistics, p.master()), dy(d.dy, p.dtype), dx(d.start, p.dtype), dgamma(ones({p.c}), p.master()),
      dbeta(ones({p.c}), p.master());
  test::Guarded scratch(kernel.backward_scratch_bytes());
  kernel.backward(stream, x.view(), gamma.view(), beta.view(), saved.view(), dy.view(), dx.view(), grad, dgamma.view(),
                  dbeta.view(), grad, scratch.data());
  r.dx = dx.in_double();
  r.dgamma = dgamma.in_double();
  r.dbeta = dbeta.in_double();
}

std::unique_ptr<NormAct> engine(const NormActProblem& p, const char* name) {
  return norm_act().prepare(p, {{}, p.dtype, name}).kernel;
}

// The reference and an engine may see h on either side of 0 where rounding decides; nothing flows back through there.
void close_kinks(Data& d, const Tensor& y, double near) {
  for (int64_t i = 0; i < y.size(); ++i)
    if (std::abs(y.data<double>()[i]) < near) d.dy.data<double>()[i] = 0;
}

// `conditioning`: how many deviations the mean is from 0; the float of the saved mean is off by as many eps of a
// deviation.
void compare(const NormActProblem& p, double conditioning = 1, double deviation = 1) {
  SCOPED_TRACE(p.describe() + sentence(", mean ", conditioning, " deviations"));
  constexpr double kC = 8;
  Data d = data_for(p, 0.3 + (conditioning - 1) * deviation, deviation);
  const auto reference = engine(p, "reference"), native = engine(p, "native");
  Results expected, got;
  forward(*reference, p, d, expected);
  forward(*native, p, d, got);
  const double single = test::epsilon(DType::f32);
  const double neighbour = test::epsilon(p.dtype);  // bf16: near a tie the next number is as good
  test::expect_near(got.y, expected.y, (kC * single + neighbour) * test::largest(expected.y), "y");
  test::expect_near(got.saved, expected.saved, kC * single * test::largest(expected.saved), "saved");

  close_kinks(d, expected.y, 2 * kC * single * conditioning);
  const double terms = static_cast<double>(p.n * volume(p.in) * p.channels_per_group());
  for (Grad grad : {Grad::overwrite, Grad::accumulate, Grad::ignore}) {
    SCOPED_TRACE(grad == Grad::overwrite ? "overwrite" : grad == Grad::accumulate ? "accumulate" : "ignore");
    backward(*reference, p, d, expected.saved, grad, expected);
    backward(*native, p, d, expected.saved, grad, got);
    const bool ignored = grad == Grad::ignore;  // then every bit stays
    const double relative = ignored ? 0 : kC * single, size = test::largest(expected.dx);
    test::expect_near(got.dx, expected.dx, (relative * conditioning + (ignored ? 0 : neighbour)) * size, "dx");
    const double sum = std::sqrt(terms) * 3 * test::root_mean_square(d.dy);
    test::expect_near(got.dgamma, expected.dgamma, relative * sum * conditioning, "dgamma");
    test::expect_near(got.dbeta, expected.dbeta, relative * sum, "dbeta");
    if (ignored) test::expect_near(got.dx, d.start, 0, "dx untouched");
  }
}

TEST(norm_act, worked_by_hand) {
  NormActProblem p{1, 1, {1, 1, 4}};
  p.eps = 0.75;  // variance 1.25 + 0.75 = 2
  p.slope = 0.5;
  p.dtype = DType::f64;
  Data d = data_for(p);
  const double x[] = {1, 2, 3, 4}, r = 1 / std::sqrt(2.0);
  std::copy_n(x, 4, d.x.data<double>());
  d.gamma.data<double>()[0] = 2;
  d.beta.data<double>()[0] = 0;
  Results out;
  forward(*engine(p, "reference"), p, d, out);
  const double y[] = {-1.5 * r, -0.5 * r, 1 * r, 3 * r};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(out.y.data<double>()[i], y[i], 1e-15);
  EXPECT_EQ(out.saved.data<double>()[0], 2.5);
  EXPECT_NEAR(out.saved.data<double>()[1], r, 1e-16);
}

TEST(norm_act, gradients_of_the_reference_against_finite_differences) {
  for (int64_t groups : {0, 1, 2}) {
    NormActProblem p{2, 6, {3, 2, 4}};
    p.dtype = DType::f64;
    p.groups = groups;
    const auto kernel = engine(p, "reference");
    Data d = data_for(p);
    Results at;
    forward(*kernel, p, d, at);
    close_kinks(d, at.y, 1e-3);
    backward(*kernel, p, d, at.saved, Grad::overwrite, at);
    Random random(3, 3);
    const auto check_along = [&](Tensor& variable, const Tensor& gradient, const char* what) {
      const Tensor way = test::normal_numbers(variable.shape(), random, DType::f64), origin = variable.clone();
      const double step = 1e-5;
      double loss[2] = {}, slope = 0;
      for (int side = 0; side < 2; ++side) {
        for (int64_t i = 0; i < way.size(); ++i)
          variable.data<double>()[i] = origin.data<double>()[i] + (side ? step : -step) * way.data<double>()[i];
        Results moved;
        forward(*kernel, p, d, moved);
        for (int64_t i = 0; i < moved.y.size(); ++i) loss[side] += moved.y.data<double>()[i] * d.dy.data<double>()[i];
      }
      variable = origin;
      for (int64_t i = 0; i < way.size(); ++i) slope += way.data<double>()[i] * gradient.data<double>()[i];
      EXPECT_NEAR((loss[1] - loss[0]) / (2 * step), slope, 1e-6 * std::max(1.0, std::abs(slope)))
          << what << ", groups " << groups;
    };
    check_along(d.x, at.dx, "dx");
    check_along(d.gamma, at.dgamma, "dgamma");
    check_along(d.beta, at.dbeta, "dbeta");
  }
}

TEST(norm_act, native_agrees_with_the_reference) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (int64_t c : {1, 2, 3, 5, 8, 12, 16, 17, 32, 33, 67, 130, 320})
      for (int64_t n : {1, 3}) {
        NormActProblem p{n, c, {3, 5, 7}};
        p.dtype = dtype;
        compare(p);
      }
}

TEST(norm_act, many_chunks_and_blocks_agree) {
  for (int64_t c : {1, 3, 8, 65}) compare({1, c, {19, 29, 31}});
}

TEST(norm_act, groups_agree) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (auto [c, groups] : {std::pair<int64_t, int64_t>{8, 8}, {8, 1}, {32, 8}, {33, 3}, {256, 8}}) {
      NormActProblem p{2, c, {4, 5, 6}};
      p.groups = groups;
      p.slope = 0;
      p.dtype = dtype;
      compare(p);
    }
}

TEST(norm_act, a_far_mean_costs_no_accuracy) {
  for (double deviations : {100.0, 1000.0})
    for (int64_t c : {3, 8, 32}) compare({2, c, {9, 17, 16}}, deviations);
  compare({1, 8, {9, 17, 16}}, 1000, 1e-2);
}

TEST(norm_act, an_outlying_first_voxel_costs_no_accuracy) {
  const NormActProblem p{1, 1, {8, 16, 16}};
  Data d = data_for(p);
  d.x.data<double>()[0] = 4096;
  Results expected, got;
  forward(*engine(p, "reference"), p, d, expected);
  forward(*engine(p, "native"), p, d, got);
  EXPECT_NEAR(got.saved.data<double>()[1] / expected.saved.data<double>()[1], 1, 4 * test::epsilon(DType::f32));
}

TEST(norm_act, one_voxel_has_no_variance) {
  for (const char* name : {"reference", "native"}) {
    const NormActProblem p{2, 5, {1, 1, 1}};
    Data d = data_for(p);
    Results r;
    forward(*engine(p, name), p, d, r);
    for (int64_t i = 0; i < 10; ++i) {
      const double beta = d.beta.data<double>()[i % 5];
      EXPECT_NEAR(r.y.data<double>()[i], beta > 0 ? beta : 0.01 * beta, 1e-9) << name;
      EXPECT_NEAR(r.saved.data<double>()[2 * i + 1], 1 / std::sqrt(p.eps), 1e-4) << name;
    }
    backward(*engine(p, name), p, d, r.saved, Grad::overwrite, r);
    EXPECT_LE(test::largest(r.dx), 2 * test::epsilon(DType::f32) * test::largest(d.dy) / std::sqrt(p.eps)) << name;
  }
}

TEST(norm_act, works_in_place) {
  for (const char* name : {"reference", "native"})
    for (int64_t c : {3, 32}) {
      const NormActProblem p{1, c, {5, 6, 7}};
      const Data d = data_for(p);
      Results apart;
      const auto kernel = engine(p, name);
      forward(*kernel, p, d, apart);
      backward(*kernel, p, d, apart.saved, Grad::overwrite, apart);
      Stream stream;
      const GuardedTensor x(d.x, p.dtype), y(d.x, p.dtype), gamma(d.gamma, p.master()), beta(d.beta, p.master()),
          saved(apart.saved, p.master()), dy(d.dy, p.dtype);
      test::Guarded scratch(std::max(kernel->forward_scratch_bytes(), kernel->backward_scratch_bytes()));
      kernel->forward(stream, y.view(), {}, gamma.view(), beta.view(), y.view(), saved.view(), scratch.data());
      test::expect_near(y.in_double(), apart.y, 0, "y in x");
      kernel->backward(stream, x.view(), gamma.view(), beta.view(), saved.view(), dy.view(), dy.view(), Grad::overwrite,
                       {}, {}, Grad::ignore, scratch.data());
      test::expect_near(dy.in_double(), apart.dx, 0, "dx in dy");
    }
}

TEST(norm_act, any_number_of_threads_gives_the_same_bits) {
  const NormActProblem p{2, 8, {17, 18, 19}};
  const Data d = data_for(p);
  const int before = threads();
  Results one, three;
  for (auto [count, results] : {std::pair{1, &one}, {3, &three}}) {
    set_threads(count);
    forward(*engine(p, "native"), p, d, *results);
    backward(*engine(p, "native"), p, d, results->saved, Grad::overwrite, *results);
  }
  set_threads(before);
  test::expect_near(three.y, one.y, 0, "y");
  test::expect_near(three.dx, one.dx, 0, "dx");
  test::expect_near(three.dgamma, one.dgamma, 0, "dgamma");
}

TEST(norm_act, refuses_what_it_cannot_do) {
  NormActProblem p{1, 8, {4, 4, 4}};
  p.dtype = DType::f64;
  EXPECT_THROW(engine(p, "native"), Error);
  p.groups = 3;
  EXPECT_THROW(engine(p, "reference"), Error);
}

}  // namespace
}  // namespace metvox
