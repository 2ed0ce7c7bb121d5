// SPDX-License-Identifier: Apache-2.0
// Every OpCase of the library, on every engine and type.
#include "autograd/op_case.h"

#include <gtest/gtest.h>

#include "autograd/op_check.h"
#include "kernels/conv3d.h"

namespace metvox {

void PrintTo(const OpCase& c, std::ostream* out) { *out << c.line(); }

namespace {

std::string test_name(const OpCase& c) {
  std::string name = c.op + "_" + c.name;
  for (char& letter : name)
    if (!std::isalnum(static_cast<unsigned char>(letter))) letter = '_';
  return name;
}

std::vector<OpCase> small_cases() {
  std::vector<OpCase> cases;
  for (const OpCase& c : op_cases())
    if (c.use == Use::test) cases.push_back(c);
  return cases;
}

// Those of a CPU, by the op that has them all.
std::vector<std::string> engines() {
  std::vector<std::string> names;
  for (const auto& engine : conv3d_forward().engines())
    if (engine.device == Device::Kind::cpu) names.emplace_back(engine.name);
  return names;
}

class op_case : public testing::TestWithParam<OpCase> {};

TEST_P(op_case, agrees_with_the_reference_on_every_engine_and_type) {
  int ran = 0;
  for (const std::string& engine : engines())
    for (DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      const CheckResult r = check_case(GetParam(), {{}, dtype, engine}, 7);
      if (r.declined) continue;
      ++ran;
      EXPECT_LE(r.forward_error, 1) << r.engine << " " << name_of(dtype);
      EXPECT_LE(r.gradient_error, 1) << r.engine << " " << name_of(dtype);
    }
  EXPECT_GE(ran, 2);
}

TEST_P(op_case, gradient_is_right_in_double) { EXPECT_LT(gradient_error(GetParam(), 11), 1e-6); }

TEST_P(op_case, adds_to_gradients_that_are_there) {
  for (const std::string& engine : engines()) {
    if (check_case(GetParam(), {{}, DType::f32, engine}, 3).declined) continue;
    EXPECT_LT(accumulation_error(GetParam(), {{}, DType::f32, engine}, 3), 1e-5) << engine;
  }
}

INSTANTIATE_TEST_SUITE_P(all, op_case, testing::ValuesIn(small_cases()),
                         [](const auto& test) { return test_name(test.param); });

}  // namespace
}  // namespace metvox
