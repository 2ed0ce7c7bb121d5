// SPDX-License-Identifier: Apache-2.0
#include "layers/loss.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops/cast.h"
#include "autograd/program.h"
#include "io/json.h"
#include "tests/support/mixed.h"

namespace metvox {
namespace {

// Loss of logits (N, R, 1, 1, W) against labels (N, 1, 1, W), with gradient, in double.
struct Result {
  std::vector<double> out, gradient;
};
Result evaluate(const std::string& loss, const Shape& shape, const std::vector<double>& logits_channels_last,
                const std::vector<uint8_t>& labels, const RegionTable& heads, bool batch_dice, int ignore_label = -1) {
  Graph graph;
  Value p = graph.parameter("logits", shape, 0);
  Value l = graph.input("labels", {{shape[0], shape[2], shape[3], shape[4]}, Kind::labels});
  Value y = segmentation_loss({cast(p)}, l, find_loss(loss), heads, {{1.0}}, batch_dice, ignore_label);
  Tensor values = Tensor::zeros({shape.size()}, DType::f64), grads = Tensor::zeros({shape.size()}, DType::f64);
  std::copy(logits_channels_last.begin(), logits_channels_last.end(), values.data<double>());
  uint64_t version = 1;
  Program program(graph, {y}, Mode::train, {{}, DType::f64, "reference"}, {values.view(), grads.view(), &version},
                  std::make_shared<Arena>(), Placement::guarded);
  Tensor labels_tensor = Tensor::empty(l.shape(), DType::u8);
  std::copy(labels.begin(), labels.end(), labels_tensor.data<uint8_t>());
  Stream stream;
  program.set(stream, l, labels_tensor.view());
  program.run(stream);
  const View out = program.view(y);
  return {{out.as<double>(), out.as<double>() + out.size()},
          {grads.data<double>(), grads.data<double>() + grads.size()}};
}

RegionTable one_region() {
  RegionTable t;
  t.count = 1;
  t.labels[0] = 2;
  return t;
}

const std::vector<double> kLogits{2, -1, .5, -3, -2, 1.5, -.25, -4};
const std::vector<uint8_t> kTarget{1, 0, 0, 0, 0, 1, 1, 0};

}  // namespace

// Worked out in double by the formulas of MONAI's TverskyLoss and of luumsk/BrainMetaSeg's weighted BCE.
TEST(loss, tversky_bce_gives_the_studys_vector) {
  const Result r = evaluate("tversky-bce", {1, 1, 1, 1, 8}, kLogits, kTarget, one_region(), true);
  EXPECT_NEAR(r.out[1], 0.30273077980708845, 1e-12);
  EXPECT_NEAR(r.out[2], 1.7722614700228883, 1e-12);
  EXPECT_NEAR(r.out[0], 2.0749922498299767, 1e-12);
}

TEST(loss, dice_bce_gives_the_studys_vector_and_counts_decided_voxels) {
  const Result r = evaluate("dice-bce", {1, 1, 1, 1, 8}, kLogits, kTarget, one_region(), false);
  EXPECT_NEAR(r.out[1], -0.6877412, 5e-8);
  EXPECT_NEAR(r.out[2], 0.3294106, 5e-8);
  EXPECT_NEAR(r.out[0], -0.3583306, 1e-7);
  EXPECT_EQ(r.out[3], 2);  // TP: logits 2 and 1.5
  EXPECT_EQ(r.out[4], 1);  // FP: 0.5
  EXPECT_EQ(r.out[5], 1);  // FN: -0.25
}

// Positives weigh 11, not 10, and negatives 1: at logit 0 every voxel's BCE is ln 2.
TEST(loss, tversky_bce_weighs_positives_eleven_times) {
  for (int g : {0, 1}) {
    const Result r = evaluate("tversky-bce", {1, 1, 1, 1, 1}, {0}, {static_cast<uint8_t>(g)}, one_region(), false);
    EXPECT_NEAR(r.out[2], (g ? 11 : 1) * std::log(2.0), 1e-15);
  }
}

// Two positive voxels and one negative. One sure false positive: TP 2, FP 1, 1 - 2 / (2 + 0.3); one sure false
// negative: TP 1, FN 1, 1 - 1 / (1 + 0.7).
TEST(loss, tversky_alpha_is_of_false_positives_and_beta_of_false_negatives) {
  constexpr double kSure = 60, kSmooth = 1e-5;
  const std::vector<uint8_t> target{1, 1, 0};
  const auto overlap = [&](const std::vector<double>& logits) {
    return evaluate("tversky-bce", {1, 1, 1, 1, 3}, logits, target, one_region(), false).out[1];
  };
  EXPECT_NEAR(overlap({kSure, kSure, kSure}), 1 - (2 + kSmooth) / (2.3 + kSmooth), 1e-12);
  EXPECT_NEAR(overlap({kSure, -kSure, -kSure}), 1 - (1 + kSmooth) / (1.7 + kSmooth), 1e-12);
}

// Value and gradient of PyTorch, of MONAI for Tversky: tests/golden/make_losses.py.
TEST(loss, agrees_with_the_originals_in_value_and_gradient) {
  const Json golden = read_json(Path(METVOX_SOURCE_DIR) / "tests/golden/losses.json");
  ASSERT_EQ(golden.at("cases").size(), 7u);
  for (const Json& c : golden.at("cases")) {
    const auto name = c.at("loss").get<std::string>();
    const bool softmax = find_loss(name).softmax, ignore = c.at("ignore");
    SCOPED_TRACE(sentence(name, " batch_dice ", c.at("batch_dice").get<bool>(), " ignore ", ignore));
    RegionTable heads;
    heads.count = softmax ? 4 : 3;
    heads.labels = softmax ? decltype(heads.labels){1, 2, 4, 8} : decltype(heads.labels){0b1110, 0b1010, 0b1000};
    constexpr int64_t kVoxels = 24;
    const Shape shape{2, heads.count, 2, 3, 4};
    const auto in_torch = [&](int64_t i) {  // element i, channels last, in PyTorch's order
      const int64_t n = i / (kVoxels * heads.count), voxel = i / heads.count % kVoxels, r = i % heads.count;
      return (n * heads.count + r) * kVoxels + voxel;
    };
    std::vector<double> logits;
    for (int64_t i = 0; i < shape.size(); ++i) logits.push_back(4 * test::mixed(in_torch(i), "logits"));
    std::vector<uint8_t> labels;
    for (int64_t i = 0; i < 2 * kVoxels; ++i) {
      const auto label = static_cast<uint8_t>((test::mixed(i, "labels") + 1) * (ignore ? 2.5 : 2));
      labels.push_back(i >= kVoxels && label == 3 ? 0 : label);
    }
    const Result r = evaluate(name, shape, logits, labels, heads, c.at("batch_dice"), ignore ? 4 : -1);
    EXPECT_NEAR(r.out[0], c.at("value").get<double>(), 1e-12);
    for (int64_t i = 0; i < shape.size(); ++i)
      EXPECT_NEAR(r.gradient[i], c.at("gradient")[in_torch(i)].get<double>(), 1e-13) << i;
  }
}

// Two samples: with batch_dice the sums are joined before the ratio is taken.
TEST(loss, batch_dice_joins_the_samples) {
  std::vector<uint8_t> second{1, 0, 0, 0, 0, 0, 0, 0};
  std::vector<double> logits = kLogits, one = kLogits;
  logits.insert(logits.end(), kLogits.begin(), kLogits.end());
  std::vector<uint8_t> labels = kTarget;
  labels.insert(labels.end(), second.begin(), second.end());
  const double a = evaluate("dice-bce", {1, 1, 1, 1, 8}, one, kTarget, one_region(), false).out[1];
  const double b = evaluate("dice-bce", {1, 1, 1, 1, 8}, one, second, one_region(), false).out[1];
  const Result apart = evaluate("dice-bce", {2, 1, 1, 1, 8}, logits, labels, one_region(), false);
  const Result joined = evaluate("dice-bce", {2, 1, 1, 1, 8}, logits, labels, one_region(), true);
  EXPECT_NEAR(apart.out[1], (a + b) / 2, 1e-12);
  EXPECT_GT(std::abs(joined.out[1] - apart.out[1]), 1e-3);
}

TEST(loss, names_what_there_is) {
  EXPECT_NO_THROW(find_loss("dice-ce"));
  try {
    find_loss("focal");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("dice-bce, dice-ce, tversky-bce"), std::string::npos) << e.what();
    EXPECT_EQ(e.fault(), Fault::usage);
  }
}

TEST(loss, deep_supervision_weights_are_nnunets) {
  const DeepSupervision d = DeepSupervision::halving(5);
  ASSERT_EQ(d.weights.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(d.weights[i], (8 >> i) / 15.0, 1e-15);
  EXPECT_EQ(DeepSupervision::halving(1).weights, std::vector<double>{1});
}

}  // namespace metvox
