// SPDX-License-Identifier: Apache-2.0
// Every OpCase of the library, on every engine and type.
#include "autograd/op_case.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "autograd/op_check.h"
#include "kernels/engines_of.h"

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

class op_case : public testing::TestWithParam<OpCase> {};

TEST_P(op_case, agrees_with_the_reference_on_every_engine_and_type) {
  int ran = 0;
  for (const std::string& engine : engines_of(Device::Kind::cpu))
    for (DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      const CheckResult r = check_case(GetParam(), {{}, dtype, engine}, 7);
      if (r.declined) continue;
      ++ran;
      EXPECT_LE(r.forward_error, 1) << r.forward.engine << " " << name_of(dtype);
      EXPECT_LE(r.gradient_error, 1) << r.forward.engine << " " << name_of(dtype);
    }
  EXPECT_GE(ran, 2);
}

// What profiles and `metvox bench` say of it.
TEST_P(op_case, tells_its_work) {
  const CheckResult r = check_case(GetParam(), {{}, DType::f32}, 7);
  EXPECT_EQ(r.forward.flops, GetParam().flops);
  EXPECT_EQ(r.backward.flops, 2 * GetParam().flops);  // two gradients
  const auto engines = engines_of(Device::Kind::cpu);
  for (const std::string& said : {r.forward.engine, r.backward.engine}) {
    std::istringstream names(said);
    EXPECT_FALSE(said.empty());
    for (std::string name; std::getline(names, name, '+');)
      EXPECT_NE(std::find(engines.begin(), engines.end(), name), engines.end()) << name;
  }
}

TEST_P(op_case, gradient_is_right_in_double) { EXPECT_LT(gradient_error(GetParam(), 11), 1e-6); }

TEST_P(op_case, adds_to_gradients_that_are_there) {
  for (const std::string& engine : engines_of(Device::Kind::cpu)) {
    if (check_case(GetParam(), {{}, DType::f32, engine}, 3).declined) continue;
    EXPECT_LT(accumulation_error(GetParam(), {{}, DType::f32, engine}, 3), 1e-5) << engine;
  }
}

INSTANTIATE_TEST_SUITE_P(all, op_case, testing::ValuesIn(small_cases()),
                         [](const auto& test) { return test_name(test.param); });

}  // namespace
}  // namespace metvox
