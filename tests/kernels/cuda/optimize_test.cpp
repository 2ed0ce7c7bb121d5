// SPDX-License-Identifier: Apache-2.0
// Optimizer kernels against the numbers of torch, and against the CPU's side on buffers of many ranges.
#include "kernels/optimize.h"

#include "tests/kernels/cuda/gpu_tensor.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox {
namespace {

#include "tests/golden/optimize.inc"

using test::in_double;
using test::kGpu;
using test::on_gpu;

// A StepControl beside the buffers.
class Control {
 public:
  Control() { set({}); }
  void set(const StepControl& c) {
    test::wait_for_gpu();
    Stream stream(kGpu);
    StepControl copy = c;
    transfer(stream, {&copy, memory_.shape(), DType::u8}, memory_.view());
  }
  StepControl get() const {
    test::wait_for_gpu();
    Stream stream(kGpu);
    StepControl c;
    transfer(stream, memory_.view(), {&c, memory_.shape(), DType::u8});
    return c;
  }
  StepControl* on_device() { return static_cast<StepControl*>(memory_.view().data); }

 private:
  Tensor memory_ = Tensor::empty({int64_t{sizeof(StepControl)}}, DType::u8, kGpu, "control");
};

// As in make_optimize.py: ten steps on two ranges of a longer buffer; what lies between stays.
constexpr int kCount = 5, kSteps = 10;
constexpr int64_t kPlace[kCount] = {1, 2, 6, 7, 8};

template <class Step>
void expect_golden(const double* golden, double lr, Step step) {
  const Range ranges[] = {{1, 2}, {5, 0}, {6, 3}};
  constexpr double kScale = 0.25;  // read times g_scale: a power of two, so exact
  Tensor start = test::filled({10}, DType::f64, 7), gradient = start.clone();
  for (int i = 0; i < kCount; ++i) start.data<double>()[kPlace[i]] = std::sin(1.0 + i);
  const Tensor w = on_gpu(start, DType::f32, "w"), m = Tensor::zeros({10}, DType::f32, kGpu, "m"),
               v = Tensor::zeros({10}, DType::f32, kGpu, "v");
  Control control;
  Stream stream(kGpu);
  for (int s = 1; s <= kSteps; ++s) {
    for (int i = 0; i < kCount; ++i)
      gradient.data<double>()[kPlace[i]] = (std::cos(0.7 * s + 1.3 * i) + 0.1 * i) / kScale;
    StepControl c;
    c.lr = lr, c.g_scale = kScale, c.steps = s;
    control.set(c);
    step(stream, w.view(), on_gpu(gradient, DType::f32, "g").view(), m.view(), v.view(), ranges, control.on_device());
    c.skip = 1;  // reads the flag, and touches nothing
    control.set(c);
    step(stream, w.view(), on_gpu(gradient, DType::f32, "g").view(), m.view(), v.view(), ranges, control.on_device());
  }
  const Tensor got = in_double(w), first = in_double(m);
  for (int i = 0; i < kCount; ++i)  // some ten roundings a step of numbers of the size of 1
    EXPECT_NEAR(got.data<double>()[kPlace[i]], golden[i], 8 * 0x1p-23 * std::sqrt(10.0 * kSteps)) << i;
  for (int64_t i : {0, 3, 4, 5, 9}) {
    EXPECT_EQ(got.data<double>()[i], 7);
    EXPECT_EQ(first.data<double>()[i], 0);
  }
}

TEST(optimize, makes_the_steps_of_torch) {
  for (bool decay : {false, true}) {
    const SgdNesterov sgd = decay ? SgdNesterov{.momentum = 0.5, .weight_decay = 0.2} : SgdNesterov{};
    expect_golden(decay ? kSgdDecay : kSgd, decay ? 0.1 : 1e-2,
                  [&](Stream& s, View w, View g, View m, View, std::span<const Range> ranges, const StepControl* c) {
                    sgd_nesterov(s, w, g, m, ranges, sgd, c);
                  });
    const Adam options = decay ? Adam{.beta1 = 0.8, .beta2 = 0.9, .eps = 1e-5, .weight_decay = 0.3} : Adam{};
    expect_golden(decay ? kAdamDecay : kAdam, decay ? 0.1 : 1e-4,
                  [&](Stream& s, View w, View g, View m, View v, std::span<const Range> ranges, const StepControl* c) {
                    adam(s, w, g, m, v, ranges, options, c);
                  });
  }
}

// More ranges than one launch takes; some of them touch, some are empty.
std::vector<Range> many_ranges() {
  std::vector<Range> ranges;
  int64_t at = 3;
  for (int64_t i = 0; i < 300; ++i) {
    const int64_t count = i == 77 ? 9000 : (i * 7) % 23;
    ranges.push_back({at, count});
    at += count + (i % 3 == 0 ? 0 : 1 + i % 5);
  }
  return ranges;
}

TEST(optimize, takes_any_number_of_ranges) {
  const std::vector<Range> ranges = many_ranges();
  const int64_t n = ranges.back().first + ranges.back().count + 5;
  Random random(3, 3);
  const Tensor start = test::normal_numbers({n}, random, DType::f32),
               step = test::normal_numbers({n}, random, DType::f32);
  Stream host, stream(kGpu);
  Control on_device;
  StepControl c;
  c.lr = 0.1;
  on_device.set(c);
  const Tensor g = test::converted(step, DType::f32), gpu_g = on_gpu(step, DType::f32, "g");
  measure_gradients(host, g.view(), ranges, {}, &c);
  measure_gradients(stream, gpu_g.view(), ranges, {}, on_device.on_device());
  const StepControl got = on_device.get();
  // Sums of squares in double: a rounding or so for each of the elements.
  EXPECT_NEAR(got.norm, c.norm, static_cast<double>(n) * 0x1p-53 * c.norm);
  EXPECT_NEAR(got.g_scale, c.g_scale, static_cast<double>(n) * 0x1p-53 * c.g_scale);
  EXPECT_EQ(got.steps, 1);
  EXPECT_EQ(got.lr, 0.1);

  for (bool is_adam : {false, true}) {
    const Tensor w = test::converted(start, DType::f32), m = Tensor::zeros({n}, DType::f32), v = m.clone();
    const Tensor gpu_w = on_gpu(start, DType::f32, "w"), gpu_m = m.to(kGpu), gpu_v = v.to(kGpu);
    if (is_adam) {
      adam(host, w.view(), g.view(), m.view(), v.view(), ranges, {}, &c);
      adam(stream, gpu_w.view(), gpu_g.view(), gpu_m.view(), gpu_v.view(), ranges, {}, on_device.on_device());
    } else {
      sgd_nesterov(host, w.view(), g.view(), m.view(), ranges, {}, &c);
      sgd_nesterov(stream, gpu_w.view(), gpu_g.view(), gpu_m.view(), ranges, {}, on_device.on_device());
    }
    // One step of some ten roundings, contracted or not, of numbers up to 5.
    test::expect_near(in_double(gpu_w), test::converted(w, DType::f64), 5 * 10 * 0x1p-24, is_adam ? "adam" : "sgd");
  }
}

TEST(optimize, every_schedule_gives_the_same_bits) {
  const std::vector<Range> ranges = many_ranges();
  const int64_t n = ranges.back().first + ranges.back().count;
  Random random(4, 4);
  const Tensor g = on_gpu(test::normal_numbers({n}, random, DType::f32), DType::f32, "g");
  std::vector<double> norms;
  under_every_schedule([&] {
    Stream stream(kGpu);
    Control control;
    measure_gradients(stream, g.view(), ranges, {}, control.on_device());
    norms.push_back(control.get().norm);
  });
  for (double norm : norms) EXPECT_EQ(norm, norms[0]);
}

TEST(optimize, a_gradient_that_is_not_finite_is_seen) {
  Stream stream(kGpu);
  for (double bad : {static_cast<double>(INFINITY), static_cast<double>(NAN)}) {
    Tensor values = test::filled({2000}, DType::f64, 1);
    values.data<double>()[1234] = bad;
    const Tensor g = on_gpu(values, DType::f32, "g");
    Control control;
    StepControl c;
    c.loss_scale = 1024;
    control.set(c);
    const StepRules rules{.adapt_loss_scale = true};
    measure_gradients(stream, g.view(), std::array{Range{0, 2000}}, rules, control.on_device());
    EXPECT_EQ(control.get().skip, 1);
    EXPECT_EQ(control.get().loss_scale, 512);
    measure_gradients(stream, g.view(), std::array{Range{0, 1234}, Range{1235, 765}}, rules, control.on_device());
    EXPECT_EQ(control.get().skip, 0);
    EXPECT_EQ(control.get().norm, std::sqrt(1999.0) / 512);
  }
}

TEST(optimize, nothing_to_train_is_a_step_of_nothing) {
  Stream stream(kGpu);
  const Tensor g = on_gpu(test::filled({4}, DType::f64, 1), DType::f32, "g");
  Control control;
  measure_gradients(stream, g.view(), {}, {}, control.on_device());
  EXPECT_EQ(control.get().norm, 0);
  sgd_nesterov(stream, g.view(), g.view(), g.view(), {}, {}, control.on_device());
  test::expect_near(in_double(g), test::filled({4}, DType::f64, 1), 0, "untouched");
}

}  // namespace
}  // namespace metvox
