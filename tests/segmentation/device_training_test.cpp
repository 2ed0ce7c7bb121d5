// SPDX-License-Identifier: Apache-2.0
// The same small networks, trained on the simulated GPU and, where there is one, on a real one: the first steps are
// those of the CPU.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/sim/capture.h"
#include "segmentation/training/learner.h"
#include "tensor/random.h"
#include "tests/segmentation/fake_model.h"

namespace metvox {
namespace {

constexpr Int3 kPatch{16, 16, 16};

Configuration configuration(const std::string& network) {
  Configuration c = fake_configuration(kPatch);
  c.batch_size = 2;
  c.architecture.features_per_stage = {8, 16};
  if (network == "segresnet") c.architecture.features_per_stage = {8, 16, 32, 64};
  return c;
}

// A ball of labels 1 to 3 in each sample, and images in which it is bright.
Batch batch() {
  const int64_t n = 2, channels = 4;
  Batch b{Tensor::empty({n, channels, kPatch[0], kPatch[1], kPatch[2]}, DType::f32),
          Tensor::empty({n, kPatch[0], kPatch[1], kPatch[2]}, DType::u8)};
  Random random(3, 1);
  for (int64_t i = 0; i < b.labels.size(); ++i) {
    const int64_t z = i / 256 % 16 - 8, y = i / 16 % 16 - 8, x = i % 16 - 6, r2 = z * z + y * y + x * x;
    b.labels.data<uint8_t>()[i] = static_cast<uint8_t>(r2 < 6 ? 3 : r2 < 14 ? 1 : r2 < 25 ? 2 : 0);
    for (int64_t c = 0; c < channels; ++c)
      b.images.data<float>()[i * channels + c] =
          static_cast<float>(random.normal() + (r2 < 25 ? static_cast<double>(c) : 0));
  }
  return b;
}

struct Run {
  std::vector<double> losses, norms;
  std::vector<float> start, end;  // weights
};

std::vector<float> weights(const ParameterStore& store) {
  std::vector<float> all;
  for (const Parameter& p : store.parameters()) {
    const Tensor t = store.read(p);
    all.insert(all.end(), t.data<float>(), t.data<float>() + t.size());
  }
  return all;
}

Run train(const std::string& network, const Target& target, int steps) {
  Learner learner({network, "dice-bce", 4, target}, configuration(network), brats_description("test").labels);
  learner.store().initialize(5);
  Run run;
  run.start = weights(learner.store());
  const Batch b = batch();
  const int64_t before = simt::counts().replayed;
  for (int i = 0; i < steps; ++i) {
    const StepResult r = learner.train(b, 1e-2);
    run.losses.push_back(r.loss);
    run.norms.push_back(r.gradient_norm);
  }
  if (target.device.kind == Device::Kind::sim) {
    EXPECT_EQ(simt::counts().replayed - before, steps - 1) << "steps that were not replayed";
  }
  run.losses.push_back(learner.validate(b).loss);
  run.end = weights(learner.store());
  return run;
}

// |what a and b learned differently| / |what b learned|
double difference(const Run& a, const Run& b) {
  double apart = 0, whole = 0;
  for (size_t i = 0; i < b.end.size(); ++i) {
    const double x = a.end[i] - a.start[i], y = b.end[i] - b.start[i];
    apart += (x - y) * (x - y);
    whole += y * y;
  }
  return std::sqrt(apart / whole);
}

void expect_the_steps_of_the_cpu(Device device, const std::string& network, int steps) {
  const Run cpu = train(network, {{}, DType::f32, ""}, steps);
  EXPECT_LT(cpu.losses.back(), cpu.losses.front());
  // Of a convolution's error by norm ratio what the precision allows; a loss of some 20 layers, a few times that.
  const bool has_tf32 = driver(device).facts(device.index).arch >= 800;
  for (const auto& [dtype, tf32, allowed] : {std::tuple{DType::f32, false, 1e-5},
                                             {DType::f32, true, 1e-3},
                                             {DType::f16, false, 1e-3},
                                             {DType::bf16, false, 1e-2}}) {
    if (tf32 && !has_tf32) continue;
    const Target target{device, dtype, "", nullptr, tf32};
    const Run run = train(network, target, steps);
    SCOPED_TRACE(sentence(network, ' ', name_of(device), ' ', target.precision()));
    ASSERT_EQ(run.start, cpu.start);
    for (size_t i = 0; i < run.losses.size(); ++i)
      EXPECT_NEAR(run.losses[i], cpu.losses[i], allowed * std::abs(cpu.losses[i]) + allowed) << "step " << i;
    // Adam's first steps are as large for a gradient of 1e-9 as for one of 1, so there only the loss can be compared.
    if (network == "nnunet") {
      EXPECT_LT(difference(run, cpu), 10 * allowed);
    }
  }
}

TEST(device_training, nnunet_takes_the_steps_of_the_cpu_on_sim) {
  expect_the_steps_of_the_cpu({Device::Kind::sim}, "nnunet", 4);
}

TEST(device_training, segresnet_takes_the_steps_of_the_cpu_on_sim) {
  expect_the_steps_of_the_cpu({Device::Kind::sim}, "segresnet", 1);
}

// A batch that is uploaded while the one before is worked on, from memory that is written anew at once.
TEST(device_training, uploads_the_next_batch_during_a_step) {
  const Target sim{{Device::Kind::sim}, DType::bf16, ""};
  const Labels labels = brats_description("test").labels;
  Learner one({"nnunet", "dice-bce", 4, sim}, configuration("nnunet"), labels),
      other({"nnunet", "dice-bce", 4, sim}, configuration("nnunet"), labels);
  for (Learner* learner : {&one, &other}) learner->store().initialize(5);
  Batch b = batch();
  const auto vary = [&](int step) {
    for (int64_t i = 0; i < b.images.size(); ++i) b.images.data<float>()[i] += static_cast<float>((i + step) % 3 - 1);
    for (int64_t i = 0; i < b.labels.size(); i += 5) b.labels.data<uint8_t>()[i] = static_cast<uint8_t>(step % 4);
  };
  constexpr int kSteps = 3;
  std::vector<double> losses;
  for (int step = 0; step < kSteps; ++step) {
    losses.push_back(one.train(b, 1e-2).loss);
    vary(step);
  }
  losses.push_back(one.validate(b).loss);
  b = batch();
  other.upload(b);
  for (int step = 0; step < kSteps; ++step) {
    other.start(1e-2);
    vary(step);
    other.upload(b);
    EXPECT_EQ(other.finish().loss, losses[static_cast<size_t>(step)]) << step;
  }
  other.start_validation();
  vary(0);
  EXPECT_EQ(other.finish().loss, losses.back());
  EXPECT_EQ(weights(one.store()), weights(other.store()));
}

TEST(device_training, first_steps_on_a_gpu_are_those_of_the_cpu) {
  if (device_count(Device::Kind::cuda) == 0) GTEST_SKIP() << "no CUDA device";
  for (const char* network : {"nnunet", "segresnet"}) expect_the_steps_of_the_cpu({Device::Kind::cuda}, network, 20);
}

}  // namespace
}  // namespace metvox
