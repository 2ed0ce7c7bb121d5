// SPDX-License-Identifier: Apache-2.0
// Against the reference in double on the same numbers, exact in the problem's type.
#include "kernels/upsample.h"

#include "tests/kernels/cuda/gpu_tensor.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox {
namespace {

using test::in_double;
using test::on_gpu;

// The sums of at most 64 terms, of weights that add up to 8, in float, and one rounding.
void compare(UpsampleProblem p) {
  SCOPED_TRACE(p.describe());
  Random random(5, 1);
  const auto numbers = [&](const Shape& shape) {
    return in_double(on_gpu(test::normal_numbers(shape, random, DType::f64), p.dtype, "rounding"));
  };
  const Tensor from = numbers(p.x_shape()), gradient = numbers(p.y_shape()), start = numbers(p.x_shape());
  Tensor y = Tensor::empty(p.y_shape(), DType::f64), dx = start.clone();
  UpsampleProblem exact = p;
  exact.dtype = DType::f64;
  const auto reference = upsample().prepare(exact, {{}, DType::f64, "reference"}).kernel;
  p.device = test::kGpu;
  const auto kernel = upsample().prepare(p, {test::kGpu, p.dtype, "native"}).kernel;
  Stream host, stream(test::kGpu);
  const double rounding = test::unit_roundoff(p.dtype) + 64 * 0x1p-24;

  reference->forward(host, from.view(), y.view(), nullptr);
  const Tensor x = on_gpu(from, p.dtype, "x"), out = Tensor::empty(p.y_shape(), p.dtype, test::kGpu, "y");
  kernel->forward(stream, x.view(), out.view(), nullptr);
  test::expect_near(in_double(out), y, rounding * test::largest(y), "y");

  const Tensor dy = on_gpu(gradient, p.dtype, "dy"), din = on_gpu(start, p.dtype, "dx");
  kernel->backward(stream, dy.view(), din.view(), Grad::ignore, nullptr);
  test::expect_near(in_double(din), start, 0, "dx ignored");
  kernel->backward(stream, dy.view(), din.view(), Grad::accumulate, nullptr);
  reference->backward(host, gradient.view(), dx.view(), Grad::accumulate, nullptr);
  test::expect_near(in_double(din), dx, rounding * 8 * test::largest(gradient), "dx added to");
  kernel->backward(stream, dy.view(), din.view(), Grad::overwrite, nullptr);
  reference->backward(host, gradient.view(), dx.view(), Grad::overwrite, nullptr);
  test::expect_near(in_double(din), dx, rounding * 8 * test::largest(gradient), "dx");
}

TEST(upsample, agrees_with_the_reference) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const auto& [n, c, in] : {std::tuple<int64_t, int64_t, Int3>{1, 8, {1, 1, 1}},
                                   {2, 16, {2, 3, 5}},
                                   {1, 3, {19, 2, 1}},
                                   {2, 8, {9, 1, 4}},
                                   {1, 72, {2, 2, 3}}}) {
      UpsampleProblem p{n, c, in};
      p.dtype = dtype;
      compare(p);
    }
}

TEST(upsample, agrees_under_every_schedule) {
  under_every_schedule([] { compare({1, 8, {3, 2, 4}}); });
}

}  // namespace
}  // namespace metvox
