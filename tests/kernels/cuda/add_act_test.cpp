// SPDX-License-Identifier: Apache-2.0
// Against the CPU in double on the same numbers, exact in the type.
#include "kernels/add_act.h"

#include "tests/kernels/cuda/gpu_tensor.h"

namespace metvox {
namespace {

using test::in_double;
using test::on_gpu;

TEST(add_act, agrees_with_the_cpu_aligned_or_not_and_in_place) {
  constexpr double kSlope = 0.25;  // exact, so that only the sum and the result are rounded
  Stream host, stream(test::kGpu);
  for (DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (int64_t n : {1, 8, 37, 3001})
      for (int64_t first : {0, 1}) {
        SCOPED_TRACE(sentence(n, " elements ", name_of(dtype), " from ", first));
        Random random(5, 1);
        const auto numbers = [&] {
          return in_double(on_gpu(test::normal_numbers({n + first}, random, DType::f64), dtype, "rounding"));
        };
        const Tensor a = numbers(), b = numbers(), gradient = numbers(), start = numbers();
        const Tensor x = on_gpu(a, dtype, "y in a"), other = on_gpu(b, dtype, "b"), dx = on_gpu(start, dtype, "dx"),
                     dy = on_gpu(gradient, dtype, "dx in dy");
        const auto part = [&](const Tensor& t) { return t.slice(first, n).view(); };
        const auto expect = [&](const Tensor& got, const Tensor& expected, const char* what) {
          const double rounding = test::unit_roundoff(dtype) + 0x1p-24;
          test::expect_near(in_double(got), expected, rounding * test::largest(expected), what);
        };
        const Tensor y = a.clone(), d = start.clone();
        add_act(host, part(a), part(b), kSlope, part(y));
        add_act(stream, part(x), part(other), kSlope, part(x));
        expect(x, y, "y");

        const Tensor seen = in_double(x);
        for (Grad grad : {Grad::ignore, Grad::accumulate}) {
          add_act_backward(host, part(seen), part(gradient), kSlope, part(d), grad);
          add_act_backward(stream, part(x), part(dy), kSlope, part(dx), grad);
          expect(dx, d, "dx");
        }
        const Tensor alone = gradient.clone();
        add_act_backward(host, part(seen), part(gradient), kSlope, part(alone), Grad::overwrite);
        add_act_backward(stream, part(x), part(dy), kSlope, part(dy), Grad::overwrite);
        expect(dy, alone, "dx in dy");
      }
}

}  // namespace
}  // namespace metvox
