// SPDX-License-Identifier: Apache-2.0
// Networks against MONAI and dynamic-network-architectures (tests/golden/make_networks.py): logits, gradients and ten
// steps of training, with the loss, clipping and optimizer that training uses.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "io/json.h"
#include "layers/loss.h"
#include "layers/optimizer.h"
#include "segmentation/networks/network.h"
#include "tests/support/mixed.h"

namespace metvox {
namespace {

using test::mixed;

const Json& golden() {
  static const Json json = read_json(Path(METVOX_SOURCE_DIR) / "tests/golden/networks.json");
  return json;
}

double weight(const Parameter& p, int64_t i) {
  if (p.shape.rank() == 1) return mixed(i, p.name) * 0.25 + (p.name.ends_with("weight") ? 1 : 0);
  return mixed(i, p.name) * std::sqrt(6 / static_cast<double>(p.shape.size() / p.shape[0]));
}

double read(const View& v, int64_t i) {
  return v.dtype == DType::f64 ? v.as<double>()[i] : static_cast<double>(v.as<float>()[i]);
}

void write(const View& v, int64_t i, double value) {
  if (v.dtype == DType::f64) v.as<double>()[i] = value;
  else v.as<float>()[i] = static_cast<float>(value);
}

Configuration configuration(const Json& plan) {
  Configuration c;
  Architecture& a = c.architecture;
  a.network_class_name = plan.value("network_class_name", "");
  a.features_per_stage = plan.at("features_per_stage").get<std::vector<int>>();
  a.kernel_sizes = plan.value("kernel_sizes", std::vector<Int3>());
  a.strides = plan.value("strides", std::vector<Int3>());
  a.n_conv_per_stage = plan.value("n_conv_per_stage", std::vector<int>());
  a.n_conv_per_stage_decoder = plan.value("n_conv_per_stage_decoder", std::vector<int>());
  return c;
}

RegionTable regions() {
  RegionTable t;
  t.count = 3;
  t.labels = {0b1110, 0b1010, 0b1000};
  return t;
}

// A golden case in training on one target.
class Training {
 public:
  Training(const Json& c, const Target& target)
      : target_(target),
        kind_(find_network(c.at("network"))),
        store_(target.dtype == DType::f64 ? DType::f64 : DType::f32) {
    const auto s = c.at("shape").get<std::vector<int64_t>>();
    network_ = kind_.make(store_, configuration(c.at("plan")), static_cast<int>(s[1]), 3);
    const auto levels = DeepSupervision::halving(network_->outputs());
    const Value x = graph_.input("images", {{s[0], s[1], s[2], s[3], s[4]}, Kind::activation});
    const Value y = graph_.input("labels", {{s[0], s[2], s[3], s[4]}, Kind::labels});
    const auto outputs = network_->build(x, static_cast<int>(levels.weights.size()));
    logits_ = outputs.front();
    loss_ = segmentation_loss(outputs, y, find_loss("dice-bce"), regions(), levels, c.at("batch_dice"));
    program_ = std::make_unique<Program>(graph_, std::vector<Value>{loss_, logits_}, Mode::train, target,
                                         store_.buffers(Mode::train), std::make_shared<Arena>());
    const TrainingDefaults& d = kind_.defaults;
    optimizer_ = make_optimizer(d.optimizer, store_, {d.momentum, d.weight_decay, d.eps});
    fill(x, y);
    for (const Parameter& p : store_.parameters())
      for (int64_t i = 0; i < p.shape.size(); ++i) write(store_.value(p), i, weight(p, i));
    store_.changed();
  }

  double forward_and_backward() {
    program_->run(stream_);
    return read(program_->view(loss_), 0);
  }
  void step() {
    optimizer_->set_lr(stream_, kind_.defaults.lr);
    optimizer_->step(stream_, store_, program_->trained());
  }

  const ParameterStore& store() const { return store_; }
  // At an index of (N, C, D, H, W) in PyTorch's order.
  double logit(int64_t index) const {
    const Shape s = logits_.shape();
    const int64_t voxels = s[2] * s[3] * s[4], n = index / (s[1] * voxels), c = index / voxels % s[1];
    return read(program_->view(logits_), (n * voxels + index % voxels) * s[1] + c);
  }

 private:
  void fill(Value x, Value y) {
    const Shape s = x.shape();
    const int64_t voxels = s[2] * s[3] * s[4];
    Tensor images = Tensor::empty(s, target_.dtype), labels = Tensor::empty(y.shape(), DType::u8);
    for (int64_t i = 0; i < images.size(); ++i) {  // channels last
      const int64_t n = i / (s[1] * voxels), voxel = i / s[1] % voxels, c = i % s[1];
      write(images.view(), i, mixed((n * s[1] + c) * voxels + voxel, "images") * 2);
    }
    for (int64_t i = 0; i < labels.size(); ++i)
      labels.data<uint8_t>()[i] = static_cast<uint8_t>((mixed(i, "labels") + 1) * 2);
    program_->set(stream_, x, images.view());
    program_->set(stream_, y, labels.view());
  }

  Target target_;
  const NetworkKind& kind_;
  ParameterStore store_;
  std::unique_ptr<Network> network_;
  Graph graph_;
  Value logits_, loss_;
  std::unique_ptr<Program> program_;
  std::unique_ptr<Optimizer> optimizer_;
  Stream stream_;
};

// The norm of a tensor and its product with its direction against golden ones, to `limit` of the norm; below `floor`
// everything is rounding (the gradient of a bias before a norm).
template <class F>
void expect_summary(const Json& expected, const Parameter& p, F value, double limit, double floor) {
  ASSERT_TRUE(expected.contains(p.name)) << p.name;
  double square = 0, product = 0;
  for (int64_t i = 0; i < p.shape.size(); ++i) {
    square += value(i) * value(i);
    product += value(i) * mixed(i, p.name + " direction");
  }
  const double norm = expected.at(p.name)[0];
  EXPECT_NEAR(std::sqrt(square), norm, limit * norm + floor) << p.name;
  EXPECT_NEAR(product, expected.at(p.name)[1].get<double>(), limit * norm + floor) << p.name;
}

void expect_logits_and_gradients(const Json& c, Training& training, double limit, double gradient_limit, double floor) {
  EXPECT_NEAR(training.forward_and_backward(), c.at("losses")[0].get<double>(), limit);
  for (size_t i = 0; i < c.at("logits").size(); ++i)
    EXPECT_NEAR(training.logit(c.at("logits_at")[i]), c.at("logits")[i].get<double>(), limit) << "logit " << i;
  const ParameterStore& store = training.store();
  int compared = 0;
  for (const Parameter& p : store.parameters()) {
    if (!c.at("gradients").contains(p.name)) continue;  // a head without weight in the loss
    ++compared;
    expect_summary(
        c.at("gradients"), p, [&](int64_t i) { return read(store.grad(p), i); }, gradient_limit, floor);
  }
  EXPECT_EQ(compared, static_cast<int>(c.at("gradients").size()));
}

std::string title(const Json& c) {
  return c.at("network").get<std::string>() + " " + c.at("plan").value("network_class_name", "");
}

}  // namespace

// 1e-10: some thirty layers of sums of up to 2000 products, each within 2^-52 of its size.
TEST(networks, train_like_the_originals_in_double) {
  constexpr double kLimit = 1e-10;
  for (const Json& c : golden().at("cases")) {
    SCOPED_TRACE(title(c));
    Training training(c, {{}, DType::f64, "reference"});
    expect_logits_and_gradients(c, training, kLimit, kLimit, 1e-13);
    training.step();
    for (size_t step = 1; step < c.at("losses").size(); ++step) {
      EXPECT_NEAR(training.forward_and_backward(), c.at("losses")[step].get<double>(), kLimit) << "step " << step;
      training.step();
    }
    const ParameterStore& store = training.store();
    EXPECT_EQ(store.parameters().size(), c.at("changes").size());
    for (const Parameter& p : store.parameters())  // Adam divides by the root of small gradients
      expect_summary(
          c.at("changes"), p, [&](int64_t i) { return read(store.value(p), i) - weight(p, i); }, 100 * kLimit, 1e-13);
  }
}

// On the best engines, with twice the errors that PyTorch's own float32 has.
TEST(networks, agree_with_the_originals_in_float) {
  for (const Json& c : golden().at("cases")) {
    SCOPED_TRACE(title(c));
    Training training(c, {{}, DType::f32, ""});
    const double logit = c.at("float32_errors").at("logit"), gradient = c.at("float32_errors").at("gradient");
    expect_logits_and_gradients(c, training, 2 * logit, 2 * gradient, 1e-6);
    training.step();
    for (size_t step = 1; step < c.at("losses").size(); ++step) {
      EXPECT_NEAR(training.forward_and_backward(), c.at("losses")[step].get<double>(), 2 * gradient) << "step " << step;
      training.step();
    }
  }
}

}  // namespace metvox
