// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimize.h"

#include "tensor/threads.h"
#include "tests/support/real_numbers.h"

namespace metvox {
namespace {

#include "tests/golden/optimize.inc"

constexpr int kCount = 5, kSteps = 10;

// As in make_optimize.py.
double weight(int i) { return std::sin(1.0 + i); }
double gradient(int step, int i) { return std::cos(0.7 * step + 1.3 * i) + 0.1 * i; }

// Ten steps of `step(stream, w, g, m, v, ranges, number)` on two ranges of a longer buffer; what lies between stays.
template <class T, class Step>
void expect_golden(const double* golden, Step step) {
  const int64_t place[kCount] = {1, 2, 6, 7, 8};
  const Range ranges[] = {{1, 2}, {5, 0}, {6, 3}};
  const DType t = dtype_of<T>();
  const test::GuardedTensor w(test::filled({10}, DType::f64, 7), t), g(test::filled({10}, DType::f64, 7), t),
      m(test::filled({10}, DType::f64, 0), t), v(test::filled({10}, DType::f64, 0), t);
  for (int i = 0; i < kCount; ++i) w.view().as<T>()[place[i]] = static_cast<T>(weight(i));
  Stream stream;
  constexpr double kScale = 0.25;  // read times g_scale: a power of two, so exact
  for (int s = 1; s <= kSteps; ++s) {
    for (int i = 0; i < kCount; ++i) g.view().as<T>()[place[i]] = static_cast<T>(gradient(s, i) / kScale);
    step(stream, w.view(), g.view(), m.view(), v.view(), std::span<const Range>(ranges), s, kScale);
  }
  for (int i = 0; i < kCount; ++i)  // some ten roundings a step of numbers of the size of 1
    EXPECT_NEAR(w.view().as<T>()[place[i]], golden[i], 8 * test::epsilon(t) * std::sqrt(10.0 * kSteps))
        << name_of(t) << ' ' << i;
  for (int64_t i : {0, 3, 4, 5, 9}) {
    EXPECT_EQ(w.view().as<T>()[i], T(7));
    EXPECT_EQ(m.view().as<T>()[i], T(0));
    EXPECT_EQ(v.view().as<T>()[i], T(0));
  }
}

template <class T>
void expect_sgd(const double* golden, double lr, SgdNesterov options) {
  const auto step = [&](Stream& stream, View w, View g, View m, View, std::span<const Range> ranges, int,
                        double scale) {
    StepControl control;
    control.lr = lr;
    control.g_scale = scale;
    sgd_nesterov(stream, w, g, m, ranges, options, &control);
  };
  expect_golden<T>(golden, step);
}
template <class T>
void expect_adam(const double* golden, double lr, Adam options) {
  const auto step = [&](Stream& stream, View w, View g, View m, View v, std::span<const Range> ranges, int number,
                        double scale) {
    StepControl control;
    control.lr = lr;
    control.g_scale = scale;
    control.steps = number;
    adam(stream, w, g, m, v, ranges, options, &control);
  };
  expect_golden<T>(golden, step);
}

double squared_norm(Stream& stream, View g, std::span<const Range> ranges) {
  StepControl control;
  measure_gradients(stream, g, ranges, {}, &control);
  double sum = 0;
  for (double piece : control.piece) sum += piece;
  return sum;
}

TEST(optimize, sgd_makes_the_steps_of_torch) {
  const SgdNesterov decay{.momentum = 0.5, .weight_decay = 0.2};
  expect_sgd<double>(kSgd, 1e-2, {});
  expect_sgd<float>(kSgd, 1e-2, {});
  expect_sgd<double>(kSgdDecay, 0.1, decay);
  expect_sgd<float>(kSgdDecay, 0.1, decay);
}

TEST(optimize, adam_makes_the_steps_of_torch) {
  const Adam decay{.beta1 = 0.8, .beta2 = 0.9, .eps = 1e-5, .weight_decay = 0.3};
  expect_adam<double>(kAdam, 1e-4, {});
  expect_adam<float>(kAdam, 1e-4, {});
  expect_adam<double>(kAdamDecay, 0.1, decay);
  expect_adam<float>(kAdamDecay, 0.1, decay);
}

TEST(optimize, norm_sums_the_ranges_alone) {
  Stream stream;
  Tensor g = Tensor::zeros({1000}, DType::f32);
  for (int i = 0; i < 1000; ++i) g.data<float>()[i] = static_cast<float>(i % 7 - 3);
  const Range ranges[] = {{3, 500}, {700, 1}, {701, 299}};
  double expected = 0;
  for (const Range& r : ranges)
    for (int64_t i = r.first; i < r.first + r.count; ++i) expected += g.data<float>()[i] * g.data<float>()[i];
  EXPECT_EQ(squared_norm(stream, g.view(), ranges), expected);  // whole numbers: exact
  EXPECT_EQ(squared_norm(stream, g.view(), {}), 0);
  EXPECT_THROW(squared_norm(stream, g.view(), std::array{Range{900, 101}}), Error);
}

TEST(optimize, any_number_of_threads_gives_the_same_bits) {
  Stream stream;
  Random random(9, 9);
  const Tensor g = test::converted(test::normal_numbers({1234567}, random, DType::f32), DType::f32);
  const Range ranges[] = {{5, 300000}, {400001, 834566}};
  const int before = threads();
  double norm[2];
  for (int i = 0; i < 2; ++i) {
    set_threads(i == 0 ? 1 : 3);
    norm[i] = squared_norm(stream, g.view(), ranges);
  }
  set_threads(before);
  EXPECT_EQ(norm[0], norm[1]);
  EXPECT_NEAR(norm[0] / 1134566, 1, 0.01);
}

TEST(optimize, an_infinite_gradient_shows_in_the_norm) {
  Stream stream;
  Tensor g = Tensor::zeros({100}, DType::f32);
  g.data<float>()[77] = INFINITY;
  EXPECT_TRUE(std::isinf(squared_norm(stream, g.view(), std::array{Range{0, 100}})));
}

}  // namespace
}  // namespace metvox
