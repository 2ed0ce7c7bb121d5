// SPDX-License-Identifier: Apache-2.0
#include "kernels/add_act.h"

#include "tests/support/real_numbers.h"

namespace metvox {
namespace {

using test::GuardedTensor;

constexpr int64_t kCount = 37;  // whole vectors and a rest
constexpr double kSlope = 0.25;

// Quarters, so that every result is exact in every type.
Tensor quarters(int64_t factor) {
  Tensor t = Tensor::empty({kCount}, DType::f64);
  for (int64_t i = 0; i < kCount; ++i) t.data<double>()[i] = static_cast<double>(i * factor % 11 - 5) / 4;
  return t;
}

}  // namespace

TEST(add_act, worked_by_hand_in_every_type) {
  Stream stream;
  const Tensor a = quarters(3), b = quarters(7), dy = quarters(5);
  for (DType t : {DType::f64, DType::f32, DType::bf16}) {
    const GuardedTensor ga(a, t), gb(b, t), gd(dy, t), y(test::filled({kCount}, DType::f64, NAN), t),
        dx(test::filled({kCount}, DType::f64, 2), t);
    add_act(stream, ga.view(), gb.view(), kSlope, y.view());
    add_act_backward(stream, y.view(), gd.view(), kSlope, dx.view(), Grad::accumulate);
    for (int64_t i = 0; i < kCount; ++i) {
      const double h = a.data<double>()[i] + b.data<double>()[i], through = h > 0 ? 1 : kSlope;
      EXPECT_EQ(y.in_double().data<double>()[i], h * through) << name_of(t) << ' ' << i;
      EXPECT_EQ(dx.in_double().data<double>()[i], 2 + dy.data<double>()[i] * through) << name_of(t) << ' ' << i;
    }
    const Tensor before = dx.in_double();
    add_act_backward(stream, y.view(), gd.view(), kSlope, dx.view(), Grad::ignore);
    test::expect_near(dx.in_double(), before, 0, "ignored");
    add_act(stream, ga.view(), gb.view(), kSlope, ga.view());
    test::expect_near(ga.in_double(), y.in_double(), 0, "in a");
  }
}

TEST(add_act, refuses_a_slope_that_hides_the_sign) {
  Stream stream;
  const GuardedTensor x(quarters(1), DType::f32);
  EXPECT_THROW(add_act(stream, x.view(), x.view(), 0, x.view()), Error);
}

}  // namespace metvox
