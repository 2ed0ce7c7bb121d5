// SPDX-License-Identifier: Apache-2.0
// Against the CPU in double on the same numbers, exact in the type.
#include "kernels/avg_pool.h"

#include "tests/kernels/cuda/gpu_tensor.h"

namespace metvox {
namespace {

using test::in_double;
using test::on_gpu;

void compare(const Shape& x_shape, const Int3& stride, DType dtype) {
  SCOPED_TRACE(sentence("x ", x_shape, ", stride ", Shape(stride), ' ', name_of(dtype)));
  const Shape y_shape = avg_pool_shape(x_shape, stride);
  Random random(5, 1);
  const auto numbers = [&](const Shape& shape) {
    return in_double(on_gpu(test::normal_numbers(shape, random, DType::f64), dtype, "rounding"));
  };
  const Tensor from = numbers(x_shape), gradient = numbers(y_shape), start = numbers(x_shape);
  Tensor y = Tensor::empty(y_shape, DType::f64), dx = start.clone();
  Stream host, stream(test::kGpu);
  const double rounding = test::unit_roundoff(dtype) + static_cast<double>(volume(stride)) * 0x1p-24;

  avg_pool(host, from.view(), stride, y.view());
  const Tensor x = on_gpu(from, dtype, "x"), out = Tensor::empty(y_shape, dtype, test::kGpu, "y");
  avg_pool(stream, x.view(), stride, out.view());
  test::expect_near(in_double(out), y, rounding * test::largest(from), "y");

  const Tensor dy = on_gpu(gradient, dtype, "dy"), din = on_gpu(start, dtype, "dx");
  for (Grad grad : {Grad::ignore, Grad::accumulate, Grad::overwrite}) {
    avg_pool_backward(host, gradient.view(), stride, dx.view(), grad);
    avg_pool_backward(stream, dy.view(), stride, din.view(), grad);
    test::expect_near(in_double(din), dx, grad == Grad::ignore ? 0 : rounding * test::largest(dx),
                      sentence("dx, mode ", static_cast<int>(grad)));
  }
}

TEST(avg_pool, agrees_with_the_cpu) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    compare({2, 8, 4, 6, 2}, {2, 2, 2}, dtype);
    compare({1, 72, 3, 4, 6}, {1, 2, 3}, dtype);
    compare({3, 5, 2, 2, 140}, {2, 1, 2}, dtype);
    compare({1, 1, 1, 1, 1}, {1, 1, 1}, dtype);
  }
}

}  // namespace
}  // namespace metvox
