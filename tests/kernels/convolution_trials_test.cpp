// SPDX-License-Identifier: Apache-2.0
// The judge of trials against every engine there is without a GPU, and wrong kernels before it.
#include "kernels/convolution_trials.h"

#include <gtest/gtest.h>

namespace metvox {
namespace {

constexpr Device kSim{Device::Kind::sim};

Conv3dProblem conv(Device device, DType t, bool tf32 = false) {
  Conv3dProblem p{2, 5, 0, 4, {6, 5, 7}};
  p.device = device, p.dtype = t, p.tf32 = tf32;
  return p;
}
std::vector<Conv3dProblem> convolutions(Device device, DType t, bool tf32) {
  Conv3dProblem plain = conv(device, t, tf32), two = plain, strided = plain, head = plain;
  plain.bias = true;
  two.c2 = 3, two.bias = true;
  strided.stride = {2, 1, 2}, strided.pad = {1, 0, 1};
  head.kernel = {1, 1, 1}, head.pad = {0, 0, 0};
  return {plain, two, strided, head};
}
ConvTranspose3dProblem transposed(Device device, DType t, bool tf32 = false) {
  ConvTranspose3dProblem p{2, 5, 3, {4, 3, 5}, {2, 1, 2}};
  p.device = device, p.dtype = t, p.tf32 = tf32;
  return p;
}

// Each engine of the table that takes the problem.
template <class Table, class Problem, class MakeTrial>
void expect_right(const Table& table, const Problem& p, MakeTrial make_trial) {
  const auto trial = make_trial(p);
  int tried = 0;
  for (const auto& engine : table.engines()) {
    if (engine.device != p.device.kind || engine.declines(p)) continue;
    ++tried;
    const Measured m = trial(*engine.make(p), 0);
    EXPECT_LT(m.error, largest_error(p.dtype, p.tf32)) << engine.name << ": " << p.describe();
    EXPECT_GE(m.error, 0) << engine.name << ": " << p.describe();
    EXPECT_GT(m.ms, 0) << engine.name;
  }
  EXPECT_GE(tried, 1) << p.describe();
}

void expect_all_right(Device device, DType t, bool tf32 = false) {
  for (const Conv3dProblem& p : convolutions(device, t, tf32)) {
    expect_right(conv3d_forward(), p, conv3d_forward_trial);
    expect_right(conv3d_backward_data(), p, conv3d_backward_data_trial);
    expect_right(conv3d_backward_weights(), p, conv3d_backward_weights_trial);
  }
  const ConvTranspose3dProblem p = transposed(device, t, tf32);
  expect_right(conv_transpose3d_forward(), p, conv_transpose3d_forward_trial);
  expect_right(conv_transpose3d_backward_data(), p, conv_transpose3d_backward_data_trial);
  expect_right(conv_transpose3d_backward_weights(), p, conv_transpose3d_backward_weights_trial);
}

template <class Table, class Problem>
auto reference(const Table& table, const Problem& p) {
  return table.prepare(p, {.device = {}, .dtype = p.dtype, .engine = "reference"}).kernel;
}

// Spoils one thing of what the reference does.
class WrongForward final : public Conv3dForward {
 public:
  enum class Wrong { nothing, last_tap, batch, bias };
  WrongForward(const Conv3dProblem& p, Wrong wrong) : p_(p), wrong_(wrong), right_(reference(conv3d_forward(), p)) {}
  size_t packed_bytes() const override { return right_->packed_bytes(); }
  void pack(Stream& s, View w, View b, void* packed) const override {
    std::vector<float> weights(w.as<float>(), w.as<float>() + w.size()), bias(static_cast<size_t>(p_.k), 0.0f);
    const auto taps = static_cast<size_t>(volume(p_.kernel));
    if (wrong_ == Wrong::last_tap)
      for (size_t i = taps - 1; i < weights.size(); i += taps) weights[i] = 0;
    w.data = weights.data();
    if (wrong_ == Wrong::bias) b.data = bias.data();
    right_->pack(s, w, b, packed);
  }
  void run(Stream& s, View x, View x2, const void* packed, View y, void* scratch) const override {
    right_->run(s, x, x2, packed, y, scratch);
    if (wrong_ == Wrong::batch) std::fill_n(y.as<float>() + y.size() / 2, y.size() / 2, 0.0f);
  }

 private:
  Conv3dProblem p_;
  Wrong wrong_;
  std::unique_ptr<Conv3dForward> right_;
};

// Overwrites where it should add.
class ForgetfulWeights final : public Conv3dBackwardWeights {
 public:
  explicit ForgetfulWeights(const Conv3dProblem& p) : right_(reference(conv3d_backward_weights(), p)) {}
  void run(Stream& s, View x, View x2, View dy, View dw, View db, Grad, void* scratch) const override {
    right_->run(s, x, x2, dy, dw, db, Grad::overwrite, scratch);
  }

 private:
  std::unique_ptr<Conv3dBackwardWeights> right_;
};

// Leaves the memory of its result alone.
class IdleData final : public Conv3dBackwardData {
 public:
  void pack(Stream&, View, void*) const override {}
  void run(Stream&, View, const void*, View, Grad, View, Grad, void*) const override {}
};

}  // namespace

TEST(convolution_trials, right_kernels_pass_on_the_cpu) {
  expect_all_right({}, DType::f32);
  expect_all_right({}, DType::bf16);
}

TEST(convolution_trials, right_kernels_pass_on_the_simulated_gpu) {
  for (const DType t : {DType::f32, DType::bf16, DType::f16}) expect_all_right(kSim, t);
  expect_all_right(kSim, DType::f32, true);
}

// A choice made for one precision must not be found for another.
TEST(convolution_trials, tell_tf32_from_f32) {
  EXPECT_NE(conv(kSim, DType::f32).describe(), conv(kSim, DType::f32, true).describe());
  EXPECT_NE(transposed(kSim, DType::f32).describe(), transposed(kSim, DType::f32, true).describe());
}

TEST(convolution_trials, choose_among_the_engines_of_a_gpu) {
  ASSERT_EQ(setenv("METVOX_TUNER_CACHE", "off", 1), 0);
  Conv3dProblem p = conv(kSim, DType::bf16);
  p.c = p.k = 16;
  std::vector<const Engine<Conv3dProblem, Conv3dForward>*> able;
  for (const auto& engine : conv3d_forward().engines())
    if (engine.device == Device::Kind::sim && !engine.declines(p)) able.push_back(&engine);
  able.push_back(able[0]);
  const auto choice = choose_by_trial<conv3d_forward_trial>("conv3d_forward", p, able);
  ASSERT_NE(choice.kernel, nullptr);
  EXPECT_LT(conv3d_forward_trial(p)(*choice.kernel, 0).error, largest_error(p.dtype, p.tf32));
}

TEST(convolution_trials, wrong_kernels_do_not) {
  Conv3dProblem p = conv({}, DType::f32);
  p.c2 = 3, p.bias = true;
  const auto trial = conv3d_forward_trial(p);
  using Wrong = WrongForward::Wrong;
  EXPECT_LT(trial(WrongForward(p, Wrong::nothing), 0).error, 1e-6);
  for (const Wrong wrong : {Wrong::last_tap, Wrong::batch, Wrong::bias})
    EXPECT_GT(trial(WrongForward(p, wrong), 0).error, 0.05) << static_cast<int>(wrong);
  EXPECT_GT(conv3d_backward_weights_trial(p)(ForgetfulWeights(p), 0).error, 0.4);
  const double untouched = conv3d_backward_data_trial(p)(IdleData(), 0).error;
  EXPECT_FALSE(untouched <= 1) << untouched;
}

}  // namespace metvox
