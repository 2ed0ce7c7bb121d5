// SPDX-License-Identifier: Apache-2.0
#include "kernels/engine.h"

#include <gtest/gtest.h>

namespace metvox {
namespace {

struct Problem {
  bool hard = false, large = false;
  DType dtype = DType::f32;
  Device device{};
  double flops() const { return large ? 1e9 : 1e3; }
  std::string describe() const { return "sum of 3"; }
};
struct Kernel {};

std::unique_ptr<Kernel> make(const Problem&) { return std::make_unique<Kernel>(); }
std::optional<std::string> declines_hard(const Problem& p) {
  return p.hard ? std::optional<std::string>("too hard") : std::nullopt;
}
std::string_view to_second(const Problem&) { return "second"; }

using Table = EngineTable<Problem, Kernel>;
const Table table("sum", {{"first", Device::Kind::cpu, never<Problem>, make, to_second},
                          {"second", Device::Kind::cpu, declines_hard, make},
                          {"reference", Device::Kind::cpu, never<Problem>, make}});
const Table slow("sum", {{"first", Device::Kind::cpu, declines_hard, make},
                         {"reference", Device::Kind::cpu, never<Problem>, make}});

Target named(const std::string& engine) { return {.device = {}, .dtype = DType::f32, .engine = engine}; }

}  // namespace

TEST(engine, yields_to_one_that_takes_the_problem) {
  EXPECT_EQ(table.prepare({}, named("")).engine, "second");
  EXPECT_EQ(table.prepare({.hard = true}, named("")).engine, "first");
}

TEST(engine, a_named_engine_never_yields) {
  EXPECT_EQ(table.prepare({}, named("first")).engine, "first");
  EXPECT_EQ(table.prepare({}, named("reference")).engine, "reference");
  EXPECT_THROW(table.prepare({.hard = true}, named("second")), Error);
}

TEST(engine, tells_once_that_large_work_is_slow) {
  const auto told = [](const Problem& p, const char* engine) {
    testing::internal::CaptureStderr();
    EXPECT_EQ(slow.prepare(p, named(engine)).engine, "reference");
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(told({.hard = true}, ""), "");
  EXPECT_EQ(told({.hard = true, .large = true}, "reference"), "");
  EXPECT_EQ(told({.hard = true, .large = true, .dtype = DType::f64}, ""), "");
  const std::string text = told({.hard = true, .large = true}, "");
  EXPECT_NE(text.find("sum of 3"), std::string::npos) << text;
  EXPECT_NE(text.find("first: too hard"), std::string::npos) << text;
  EXPECT_EQ(told({.hard = true, .large = true}, ""), "");
}

}  // namespace metvox
