// SPDX-License-Identifier: Apache-2.0
#include "kernels/upsample.h"

#include "tensor/threads.h"
#include "tests/support/real_numbers.h"

namespace metvox {
namespace {

using test::GuardedTensor;

const char* const kEngines[] = {"reference", "native"};

std::unique_ptr<Upsample> engine(const UpsampleProblem& p, const char* name) {
  return upsample().prepare(p, {{}, p.dtype, name}).kernel;
}

Tensor forward(const UpsampleProblem& p, const char* name, const Tensor& x) {
  Stream stream;
  const auto kernel = engine(p, name);
  const GuardedTensor in(x, p.dtype), out(test::filled(p.y_shape(), DType::f64, NAN), p.dtype);
  test::Guarded scratch(kernel->scratch_bytes());
  kernel->forward(stream, in.view(), out.view(), scratch.data());
  return out.in_double();
}

Tensor backward(const UpsampleProblem& p, const char* name, const Tensor& dy, const Tensor& start, Grad grad) {
  Stream stream;
  const auto kernel = engine(p, name);
  const GuardedTensor in(dy, p.dtype), out(start, p.dtype);
  test::Guarded scratch(kernel->scratch_bytes());
  kernel->backward(stream, in.view(), out.view(), grad, scratch.data());
  return out.in_double();
}

Tensor tensor(const Shape& shape, const std::vector<double>& values) {
  Tensor t = Tensor::empty(shape, DType::f64);
  std::copy(values.begin(), values.end(), t.data<double>());
  return t;
}

double inner_product(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.size(); ++i) sum += a.data<double>()[i] * b.data<double>()[i];
  return sum;
}

}  // namespace

// 0 1 4 becomes 0 .25 .75 1.75 3.25 4 (torch's interpolate gives the same); along any axis, and repeated along the
// others.
TEST(upsample, worked_by_hand) {
  const std::vector<double> line{0, .25, .75, 1.75, 3.25, 4};
  for (const char* name : kEngines)
    for (size_t axis = 0; axis < 3; ++axis) {
      Int3 in{1, 1, 1};
      in[axis] = 3;
      const UpsampleProblem p{1, 1, in};
      const Tensor y = forward(p, name, tensor(p.x_shape(), {0, 1, 4}));
      const Int3 out = p.out();
      for (int64_t i = 0; i < y.size(); ++i) {
        const Int3 at{i / (out[1] * out[2]), i / out[2] % out[1], i % out[2]};
        EXPECT_EQ(y.data<double>()[i], line[static_cast<size_t>(at[axis])]) << name << " axis " << axis;
      }
    }
}

// The transpose of the same matrix: its columns are (1 .75 .25 0 0 0), (0 .25 .75 .75 .25 0), (0 0 0 .25 .75 1).
TEST(upsample, backward_worked_by_hand) {
  for (const char* name : kEngines) {
    const UpsampleProblem p{1, 1, {1, 1, 3}};
    std::vector<double> dy;  // 4 rows alike: the two other axes sum them
    for (int row = 0; row < 4; ++row) dy.insert(dy.end(), {1, 2, 4, 8, 16, 32});
    const Tensor dx =
        backward(p, name, tensor(p.y_shape(), dy), test::filled(p.x_shape(), DType::f64, 1), Grad::accumulate);
    const double expected[] = {1 + 4 * 3.5, 1 + 4 * 13.5, 1 + 4 * 46};
    for (int i = 0; i < 3; ++i) EXPECT_EQ(dx.data<double>()[i], expected[i]) << name;
  }
}

TEST(upsample, native_agrees_with_the_reference) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (int64_t c : {1, 3, 8, 16, 17, 32, 130})
      for (const Int3& in : {Int3{1, 1, 1}, Int3{3, 2, 5}, Int3{2, 7, 1}, Int3{5, 1, 9}}) {
        const UpsampleProblem p{2, c, in, dtype};
        SCOPED_TRACE(p.describe());
        Random random(7, 1);
        const Tensor x = test::normal_numbers(p.x_shape(), random, dtype),
                     dy = test::normal_numbers(p.y_shape(), random, dtype);
        // Sums of 8 and of 64 in float; bf16 rounds once more.
        const auto limit = [&](double terms, const Tensor& of) {
          return (std::sqrt(terms) * test::epsilon(DType::f32) + test::epsilon(dtype)) * test::largest(of);
        };
        const Tensor y = forward(p, "reference", x);
        test::expect_near(forward(p, "native", x), y, limit(8, y), "y");
        for (Grad grad : {Grad::overwrite, Grad::accumulate}) {
          const Tensor dx = backward(p, "reference", dy, x, grad);
          test::expect_near(backward(p, "native", dy, x, grad), dx, limit(64, dx), "dx");
        }
        test::expect_near(backward(p, "native", dy, x, Grad::ignore), x, 0, "dx untouched");
      }
}

TEST(upsample, backward_is_the_transpose) {
  const UpsampleProblem p{2, 3, {4, 5, 1}, DType::f64};
  Random random(5, 5);
  const Tensor x = test::normal_numbers(p.x_shape(), random, p.dtype),
               dy = test::normal_numbers(p.y_shape(), random, p.dtype);
  EXPECT_NEAR(inner_product(forward(p, "reference", x), dy),
              inner_product(x, backward(p, "reference", dy, x, Grad::overwrite)), 1e-12);
}

TEST(upsample, any_number_of_threads_gives_the_same_bits) {
  const UpsampleProblem p{2, 8, {5, 6, 7}};
  Random random(3, 1);
  const Tensor x = test::normal_numbers(p.x_shape(), random, p.dtype),
               dy = test::normal_numbers(p.y_shape(), random, p.dtype);
  const int before = threads();
  Tensor y[2], dx[2];
  for (int i = 0; i < 2; ++i) {
    set_threads(i == 0 ? 1 : 3);
    y[i] = forward(p, "native", x);
    dx[i] = backward(p, "native", dy, x, Grad::overwrite);
  }
  set_threads(before);
  test::expect_near(y[1], y[0], 0, "y");
  test::expect_near(dx[1], dx[0], 0, "dx");
}

}  // namespace metvox
