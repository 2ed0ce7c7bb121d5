// SPDX-License-Identifier: Apache-2.0
#include "kernels/ceilings.h"

#include "tests/kernels/cuda/gpu_tensor.h"

namespace metvox {
namespace {

using test::kGpu;

TEST(ceilings, the_loop_multiplies_as_often_as_it_says) {
  Stream stream(kGpu);
  for (const auto& [dtype, tf32] :
       {std::pair{DType::f32, false}, {DType::f32, true}, {DType::bf16, false}, {DType::f16, false}})
    for (const int times : {1, 3}) {
      const Tensor out = Tensor::zeros({512}, DType::f32, kGpu, "sums");
      multiply_registers(stream, dtype, tf32, times, 1.5f, out.view());  // exact in every type
      test::expect_near(test::in_double(out), test::filled({512}, DType::f64, register_sum(dtype, tf32, times, 1.5f)),
                        0, std::string(precision_of(dtype, tf32)));
      EXPECT_EQ(register_flops(dtype, tf32, times, 1), 2 * register_sum(dtype, tf32, times, 1));
    }
}

TEST(ceilings, are_measured_and_give_a_floor) {
  const Ceilings c = measure_ceilings({kGpu, DType::bf16});
  EXPECT_GT(c.gflops, 0);
  EXPECT_GT(c.gb_per_s, 0);
  const Ceilings known{1000, 10, ""};
  EXPECT_EQ(known.ridge(), 100);
  EXPECT_DOUBLE_EQ(known.floor_ms(2e9, 1e6), 2);   // bound by arithmetic
  EXPECT_DOUBLE_EQ(known.floor_ms(2e6, 30e6), 3);  // by memory
}

}  // namespace
}  // namespace metvox
