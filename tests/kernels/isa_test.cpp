// SPDX-License-Identifier: Apache-2.0
// Every instruction set that this machine has gives the same results but for rounding. The set is chosen once a
// process, so the program runs itself again under METVOX_ISA.
#include "kernels/cpu/isa.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <vector>

#include "kernels/norm_act.h"
#include "kernels/pointwise.h"
#include "kernels/segmentation_loss.h"
#include "tests/support/real_numbers.h"

namespace metvox {
namespace {

using Results = std::map<std::string, std::vector<double>>;

void report(const char* what, View view) {
  Tensor in_double = Tensor::empty(view.shape, DType::f64);
  Stream stream;
  convert(stream, view, in_double.view());
  if (!std::getenv("METVOX_ISA_REPORT")) return;
  for (int64_t i = 0; i < in_double.size(); ++i)
    std::printf("result %s-%s %a\n", name_of(view.dtype).data(), what, in_double.data<double>()[i]);
}

void report_norm(DType t) {
  Stream stream;
  Random random(1, 0);
  NormActProblem p{2, 5, {3, 5, 7}};
  p.dtype = t;
  const auto kernel = norm_act().prepare(p, {{}, t, "native"}).kernel;
  const auto numbers = [&](const Shape& shape, DType type) {
    return test::converted(test::normal_numbers(shape, random, type), type);
  };
  const Tensor x = numbers(p.x_shape(), t), dy = numbers(p.x_shape(), t), y = x.clone(), dx = x.clone();
  const Tensor gamma = numbers({5}, DType::f32), beta = numbers({5}, DType::f32), dgamma = gamma.clone(),
               dbeta = gamma.clone();
  const Tensor saved = Tensor::zeros(p.saved_shape(), DType::f32);
  const test::Guarded scratch(std::max(kernel->forward_scratch_bytes(), kernel->backward_scratch_bytes()));
  kernel->forward(stream, x.view(), {}, gamma.view(), beta.view(), y.view(), saved.view(), scratch.data());
  kernel->backward(stream, x.view(), gamma.view(), beta.view(), saved.view(), dy.view(), dx.view(), Grad::accumulate,
                   dgamma.view(), dbeta.view(), Grad::overwrite, scratch.data());
  report("norm_y", y.view());
  report("norm_dx", dx.view());
  report("norm_dgamma", dgamma.view());
  add(stream, x.view(), dy.view(), y.view());
  report("sum", y.view());
}

void report_loss(DType t, bool softmax) {
  Stream stream;
  Random random(2, 0);
  SegmentationLossProblem p{1, {5, 6, 7}, {5, 6, 7}, {3, {1, 2, 4}}, softmax, 2};
  p.dtype = t;
  const auto kernel = segmentation_loss().prepare(p, {{}, t, "native"}).kernel;
  const Tensor z = test::converted(test::normal_numbers({1, 3, 5, 6, 7}, random, t, 0, 3), t), dz = z.clone();
  const Tensor labels = Tensor::zeros({1, 5, 6, 7}, DType::u8), sums = Tensor::zeros({p.sums_count()}, DType::f64);
  for (int64_t i = 0; i < labels.size(); ++i) labels.data<uint8_t>()[i] = static_cast<uint8_t>(random.below(4));
  const test::Guarded scratch(kernel->scratch_bytes());
  const double coefficients[] = {1, -0.5, 0.25, 0.125, -2, 1, 0.5};
  const Tensor one = test::filled({1}, DType::f32, 1);
  kernel->sums(stream, z.view(), labels.view(), sums.data<double>(), scratch.data());
  kernel->gradient(stream, z.view(), labels.view(), coefficients, one.view(), dz.view(), Grad::overwrite,
                   scratch.data());
  report(softmax ? "softmax_sums" : "sigmoid_sums", sums.view());
  report(softmax ? "softmax_dz" : "sigmoid_dz", dz.view());
}

// Runs every loop; tells the numbers only where a test below asks for them, in a process of its own.
TEST(isa, every_loop_runs) {
  std::printf("isa %s\n", name_of(isa()));
  for (DType t : {DType::f32, DType::bf16}) {
    report_norm(t);
    for (bool softmax : {false, true}) report_loss(t, softmax);
  }
}

struct Report {
  std::string isa;
  Results results;
  int status = 0;
};

Report run_under(const std::string& set) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe");
  const std::string command =
      "METVOX_ISA_REPORT=1 METVOX_ISA=" + set + " '" + program + "' --gtest_filter=isa.every_loop_runs 2>&1";
  Report run;
  FILE* output = popen(command.c_str(), "r");
  char line[512], name[64];
  while (std::fgets(line, sizeof line, output)) {
    double value = 0;
    if (std::sscanf(line, "isa %63s", name) == 1) run.isa = name;
    if (std::sscanf(line, "result %63s %la", name, &value) == 2) run.results[name].push_back(value);
  }
  run.status = pclose(output);
  return run;
}

TEST(isa, environment_chooses_and_every_set_agrees) {
  const Report v2 = run_under("v2");
  EXPECT_EQ(v2.isa, "v2");
  EXPECT_EQ(v2.status, 0);
  ASSERT_EQ(v2.results.size(), 13u);
  for (const char* set : {"v3", "v4"}) {
    const bool has =
        set == std::string("v3") ? __builtin_cpu_supports("x86-64-v3") : __builtin_cpu_supports("x86-64-v4");
    if (!has) continue;
    const Report run = run_under(set);
    EXPECT_EQ(run.isa, set);
    ASSERT_EQ(run.results.size(), v2.results.size());
    for (const auto& [what, expected] : v2.results) {
      const auto& got = run.results.at(what);
      ASSERT_EQ(got.size(), expected.size());
      double size = 0;
      for (double e : expected) size = std::max(size, std::abs(e));
      // bf16: near a tie the next number is as good.
      const double relative =
          8 * test::epsilon(DType::f32) + (what.starts_with("bf16") ? test::epsilon(DType::bf16) : 0);
      for (size_t i = 0; i < got.size(); ++i)
        EXPECT_NEAR(got[i], expected[i], relative * size) << set << ' ' << what << ' ' << i;
    }
  }
}

TEST(isa, an_unknown_set_is_an_error) { EXPECT_NE(run_under("v9").status, 0); }

}  // namespace
}  // namespace metvox
