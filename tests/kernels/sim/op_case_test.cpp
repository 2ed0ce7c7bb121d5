// SPDX-License-Identifier: Apache-2.0
// Every OpCase of the library on the GPU: our CUDA kernels against the reference in double, in each type,
// with every value in an allocation of its own.
#include "autograd/op_case.h"

#include <gtest/gtest.h>

#include "autograd/op_check.h"
#include "tests/kernels/cuda/gpu_tensor.h"

namespace metvox {

void PrintTo(const OpCase& c, std::ostream* out) { *out << c.line(); }

namespace {

using test::kGpu;

std::vector<OpCase> small_cases() {
  std::vector<OpCase> cases;
  for (const OpCase& c : op_cases())
    if (c.use == Use::test) cases.push_back(c);
  return cases;
}

std::string test_name(const testing::TestParamInfo<OpCase>& test) {
  std::string name = test.param.line();
  for (char& letter : name)
    if (!std::isalnum(static_cast<unsigned char>(letter))) letter = '_';
  return name;
}

class op_case : public testing::TestWithParam<OpCase> {};

TEST_P(op_case, agrees_with_the_reference_in_every_type) {
  for (const auto& [dtype, tf32] :
       {std::pair{DType::f32, false}, {DType::f32, true}, {DType::bf16, false}, {DType::f16, false}}) {
    if (tf32 && !test::has_tf32()) continue;
    const CheckResult r = check_case(GetParam(), {kGpu, dtype, "", nullptr, tf32}, 7);
    ASSERT_FALSE(r.declined) << *r.declined;
    EXPECT_LE(r.forward_error, 1) << precision_of(dtype, tf32);
    EXPECT_LE(r.gradient_error, 1) << precision_of(dtype, tf32);
  }
}

TEST_P(op_case, adds_to_gradients_that_are_there) {
  EXPECT_LT(accumulation_error(GetParam(), {kGpu, DType::f32, ""}, 3), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(all, op_case, testing::ValuesIn(small_cases()), test_name);

}  // namespace
}  // namespace metvox
