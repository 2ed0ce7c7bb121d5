// SPDX-License-Identifier: Apache-2.0
#include "kernels/pointwise.h"

#include "tests/support/real_numbers.h"

namespace metvox {
namespace {

using test::GuardedTensor;

const DType kFloats[] = {DType::f64, DType::f32, DType::bf16};
const int64_t kSizes[] = {1, 7, 16, 33, 70001};

Tensor numbers(int64_t n, DType dtype, uint64_t stream) {
  Random random(1, stream);
  return test::normal_numbers({n}, random, dtype);
}

// What `dtype` makes of a sum in its arithmetic type.
double rounded(double sum, DType dtype) {
  return dispatch_float(dtype, [&]<class T>() { return to_double(from_double<T>(sum)); });
}

TEST(pointwise, adds_exactly_as_the_type_rounds) {
  Stream stream;
  for (DType t : kFloats)
    for (int64_t n : kSizes) {
      const Tensor a = numbers(n, t, 1), b = numbers(n, t, 2);
      const GuardedTensor ga(a, t), gb(b, t), y(b, t);
      add(stream, ga.view(), gb.view(), y.view());
      const Tensor apart = y.in_double();
      for (int64_t i = 0; i < n; ++i)
        ASSERT_EQ(apart.data<double>()[i], rounded(a.data<double>()[i] + b.data<double>()[i], t))
            << name_of(t) << ' ' << i;
      add(stream, ga.view(), gb.view(), ga.view());
      test::expect_near(ga.in_double(), apart, 0, "in a");
      copy(stream, gb.view(), gb.view(), Grad::overwrite);
      const Tensor same = test::converted(a, t);
      copy(stream, same.view(), gb.view(), Grad::accumulate);
      test::expect_near(gb.in_double(), apart, 0, "accumulated");
    }
}

TEST(pointwise, copies_fills_and_leaves) {
  Stream stream;
  for (DType t : kFloats)
    for (int64_t n : kSizes) {
      const Tensor a = numbers(n, t, 3);
      const GuardedTensor x(a, t), y(numbers(n, t, 4), t);
      copy(stream, x.view(), y.view(), Grad::ignore);
      test::expect_near(y.in_double(), numbers(n, t, 4), 0, "ignored");
      copy(stream, x.view(), y.view(), Grad::overwrite);
      test::expect_near(y.in_double(), a, 0, "copied");
      fill(stream, y.view(), -2.5);
      test::expect_near(y.in_double(), test::filled({n}, DType::f64, -2.5), 0, "filled");
    }
}

TEST(pointwise, converts_with_one_rounding) {
  Stream stream;
  for (DType from : kFloats)
    for (DType to : kFloats)
      for (int64_t n : kSizes) {
        const Tensor a = numbers(n, from, 5);
        const GuardedTensor x(a, from), y(test::filled({n}, DType::f64, 0), to);
        convert(stream, x.view(), y.view());
        const Tensor got = y.in_double();
        for (int64_t i = 0; i < n; ++i) ASSERT_EQ(got.data<double>()[i], rounded(a.data<double>()[i], to));
      }
}

TEST(pointwise, converts_labels_and_special_values) {
  Stream stream;
  Tensor labels = Tensor::empty({256}, DType::u8), y = Tensor::empty({256}, DType::f32);
  for (int i = 0; i < 256; ++i) labels.data<uint8_t>()[i] = static_cast<uint8_t>(i);
  convert(stream, labels.view(), y.view());
  for (int i = 0; i < 256; ++i) EXPECT_EQ(y.data<float>()[i], static_cast<float>(i));

  // Ties to even, overflow, infinities, NaN, subnormals: the same as bf16's own constructor, in whole vectors and in
  // rests.
  const float special[] = {1.00390625f, 1.01171875f, 3.4e38f, -INFINITY, INFINITY, NAN, 1e-40f, -0.0f};
  Tensor x = Tensor::empty({37}, DType::f32), half = Tensor::empty({37}, DType::bf16);
  for (int i = 0; i < 37; ++i) x.data<float>()[i] = special[i % 8];
  convert(stream, x.view(), half.view());
  for (int i = 0; i < 37; ++i) {
    const bf16 expected(special[i % 8]);
    if (std::isnan(special[i % 8])) EXPECT_TRUE(std::isnan(static_cast<float>(half.data<bf16>()[i]))) << i;
    else EXPECT_EQ(half.data<bf16>()[i].bits, expected.bits) << i;
  }
}

TEST(pointwise, refuses_views_that_do_not_match) {
  Stream stream;
  const Tensor a = Tensor::zeros({4}, DType::f32), b = Tensor::zeros({5}, DType::f32),
               c = Tensor::zeros({4}, DType::f64);
  EXPECT_THROW(add(stream, a.view(), b.view(), a.view()), Error);
  EXPECT_THROW(copy(stream, a.view(), c.view(), Grad::overwrite), Error);
  EXPECT_THROW(convert(stream, a.view(), b.view()), Error);
}

}  // namespace
}  // namespace metvox
