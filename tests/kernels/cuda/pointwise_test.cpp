// SPDX-License-Identifier: Apache-2.0
// Pointwise kernels round as the CPU does: the same bits.
#include "kernels/pointwise.h"

#include "tests/kernels/cuda/gpu_tensor.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox {
namespace {

using test::in_double;
using test::on_gpu;

const DType kTypes[] = {DType::f32, DType::bf16, DType::f16};
const int64_t kSizes[] = {1, 7, 8, 33, 5003};

Tensor numbers(int64_t n, uint64_t stream, DType exact_in) {
  Random random(1, stream);
  const Tensor t = test::normal_numbers({n}, random, DType::f32);
  return in_double(on_gpu(t, exact_in, "numbers"));
}

double rounded(double v, DType t) {
  const float f = static_cast<float>(v);
  if (t == DType::bf16) return to_double(bf16(f));
  return t == DType::f16 ? to_double(f16(f)) : to_double(f);
}

class pointwise : public testing::TestWithParam<DType> {
 protected:
  Stream stream_{test::kGpu};
};

TEST_P(pointwise, adds_exactly_as_the_type_rounds) {
  for (int64_t n : kSizes) {
    const Tensor a = numbers(n, 1, GetParam()), b = numbers(n, 2, GetParam());
    const Tensor x = on_gpu(a, GetParam(), "a"), z = on_gpu(b, GetParam(), "b");
    const Tensor y = Tensor::empty({n}, GetParam(), test::kGpu, "y");
    add(stream_, x.view(), z.view(), y.view());
    const Tensor apart = in_double(y);
    for (int64_t i = 0; i < n; ++i)
      ASSERT_EQ(apart.data<double>()[i], rounded(a.data<double>()[i] + b.data<double>()[i], GetParam())) << i;
    copy(stream_, z.view(), x.view(), Grad::accumulate);
    test::expect_near(in_double(x), apart, 0, "in a");
  }
}

TEST_P(pointwise, copies_fills_and_leaves) {
  const Tensor x = on_gpu(numbers(100, 3, GetParam()), GetParam(), "x"),
               y = on_gpu(numbers(100, 4, GetParam()), GetParam(), "y");
  copy(stream_, x.view(), y.view(), Grad::ignore);
  test::expect_near(in_double(y), numbers(100, 4, GetParam()), 0, "ignored");
  copy(stream_, x.view(), y.view(), Grad::overwrite);
  test::expect_near(in_double(y), numbers(100, 3, GetParam()), 0, "copied");
  const Tensor part = y.slice(3, 90);
  fill(stream_, part.view(), -2.5);
  const Tensor filled = in_double(y), before = numbers(100, 3, GetParam());
  for (int64_t i = 0; i < 100; ++i)
    EXPECT_EQ(filled.data<double>()[i], i >= 3 && i < 93 ? -2.5 : before.data<double>()[i]) << i;
}

TEST_P(pointwise, converts_with_one_rounding) {
  for (DType to : kTypes)
    for (int64_t n : kSizes) {
      const Tensor a = numbers(n, 5, GetParam()), x = on_gpu(a, GetParam(), "x");
      const Tensor y = Tensor::empty({n}, to, test::kGpu, "y");
      convert(stream_, x.view(), y.view());
      const Tensor got = in_double(y);
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(got.data<double>()[i], rounded(a.data<double>()[i], to)) << i;
    }
}

TEST_P(pointwise, touches_memory_that_is_not_aligned_one_by_one) {
  const Tensor a = numbers(41, 6, GetParam()), x = on_gpu(a, GetParam(), "x");
  const Tensor y = Tensor::zeros({40}, GetParam(), test::kGpu, "y"),
               half = Tensor::zeros({40}, DType::bf16, test::kGpu);
  add(stream_, x.slice(1, 40).view(), y.view(), y.view());
  convert(stream_, x.slice(1, 40).view(), half.view());
  for (int64_t i = 0; i < 40; ++i) {
    EXPECT_EQ(in_double(y).data<double>()[i], a.data<double>()[i + 1]);
    EXPECT_EQ(in_double(half).data<double>()[i], rounded(a.data<double>()[i + 1], DType::bf16));
  }
}

TEST_P(pointwise, weighted_sum_and_its_gradient) {
  const int64_t n = 1000;
  const Tensor x = numbers(n, 7, GetParam()), w = numbers(n, 8, DType::f32), start = numbers(n, 9, GetParam());
  const Tensor dx = on_gpu(start, GetParam(), "dx"), y = Tensor::empty({1}, DType::f32, test::kGpu, "y");
  const Tensor weights = on_gpu(w, DType::f32, "w"), dy = on_gpu(test::filled({1}, DType::f64, 0.75), DType::f32, "dy");
  double sum = 0, size = 0;
  for (int64_t i = 0; i < n; ++i) {
    sum += w.data<double>()[i] * x.data<double>()[i];
    size += std::abs(w.data<double>()[i] * x.data<double>()[i]);
  }
  const Tensor in = on_gpu(x, GetParam(), "x");
  weighted_sum(stream_, in.view(), weights.view(), y.view());
  // Rounded once to f32; in double, at most 1000 roundings of the sum of magnitudes.
  EXPECT_NEAR(in_double(y).data<double>()[0], sum, 0x1p-24 * std::abs(sum) + 0x1p-43 * size);
  weighted_sum_backward(stream_, weights.view(), dy.view(), dx.view(), Grad::accumulate);
  for (int64_t i = 0; i < n; ++i)
    ASSERT_EQ(in_double(dx).data<double>()[i],
              rounded(start.data<double>()[i] + 0.75 * w.data<double>()[i], GetParam()));
}

std::string type_name(const testing::TestParamInfo<DType>& test) { return std::string(name_of(test.param)); }
INSTANTIATE_TEST_SUITE_P(types, pointwise, testing::ValuesIn(kTypes), type_name);

TEST(pointwise, converts_labels_doubles_and_special_values) {
  Stream stream(test::kGpu);
  Tensor labels = Tensor::empty({256}, DType::u8);
  for (int i = 0; i < 256; ++i) labels.data<uint8_t>()[i] = static_cast<uint8_t>(i);
  const Tensor x = labels.to(test::kGpu), y = Tensor::empty({256}, DType::f32, test::kGpu, "y");
  convert(stream, x.view(), y.view());
  for (int i = 0; i < 256; ++i) EXPECT_EQ(in_double(y).data<double>()[i], i);

  const Tensor scale = Tensor::empty({1}, DType::f32, test::kGpu, "scale");
  convert(stream, test::filled({1}, DType::f64, 65536).to(test::kGpu).view(), scale.view());
  EXPECT_EQ(in_double(scale).data<double>()[0], 65536);

  const float special[] = {1.00390625f, 1.01171875f, 3.4e38f, -INFINITY, INFINITY, NAN, 1e-40f, -0.0f, 1e-6f};
  Tensor floats = Tensor::empty({37}, DType::f32);
  for (int i = 0; i < 37; ++i) floats.data<float>()[i] = special[i % 9];
  for (DType t : {DType::bf16, DType::f16}) {
    const Tensor half = Tensor::empty({37}, t, test::kGpu, "half");
    convert(stream, floats.to(test::kGpu).view(), half.view());
    for (int i = 0; i < 37; ++i) {
      const double got = in_double(half).data<double>()[i], expected = rounded(to_double(special[i % 9]), t);
      if (std::isnan(expected)) EXPECT_TRUE(std::isnan(got));
      else EXPECT_EQ(got, expected) << i;
    }
  }
}

}  // namespace
}  // namespace metvox
