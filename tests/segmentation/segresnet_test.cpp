// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>

#include "segmentation/networks/network.h"
#include "segmentation/training/learner.h"

namespace metvox {
namespace {

Configuration plan(int filters, const std::vector<int64_t>& patch) {
  Configuration c;
  c.patch_size = patch;
  c.architecture.features_per_stage = {filters, 2 * filters};
  return c;
}

int64_t count(const ParameterStore& store, const std::string& prefix = "") {
  int64_t n = 0;
  for (const Parameter& p : store.parameters())
    if (p.name.starts_with(prefix)) n += p.shape.size();
  return n;
}

}  // namespace

// The study's network, 32 filters, 4 channels, 3 regions; counted with MONAI 1.3.0.
TEST(segresnet, has_the_published_parameter_counts) {
  ParameterStore store;
  find_network("segresnet").make(store, plan(32, {64, 192, 160}), 4, 3);
  EXPECT_EQ(store.parameters().size(), 83u);
  EXPECT_EQ(count(store), 18798627);
  const std::pair<const char*, int64_t> parts[] = {{"convInit", 3456},          {"down_layers.0", 55424},
                                                   {"down_layers.1", 498176},   {"down_layers.2", 1991680},
                                                   {"down_layers.3", 15044608}, {"conv_final", 163}};
  for (const auto& [part, expected] : parts) EXPECT_EQ(count(store, part), expected) << part;
  const int64_t up[] = {918016, 229632, 57472};
  for (int level = 0; level < 3; ++level)
    EXPECT_EQ(count(store, "up_layers." + std::to_string(level)) + count(store, "up_samples." + std::to_string(level)),
              up[level]);
  EXPECT_EQ(store.find("down_layers.3.4.conv2.conv.weight")->shape, (Shape{256, 256, 3, 3, 3}));
  EXPECT_EQ(store.find("up_samples.0.0.conv.weight")->shape, (Shape{128, 256, 1, 1, 1}));
  EXPECT_EQ(store.find("conv_final.2.conv.bias")->shape, Shape{3});
}

TEST(segresnet, draws_logits_at_full_resolution) {
  ParameterStore store;
  const auto net = find_network("segresnet").make(store, plan(32, {64, 192, 160}), 4, 3);
  EXPECT_EQ(net->outputs(), 1);
  Graph graph;
  const auto logits = net->build(graph.input("x", {{2, 4, 64, 192, 160}, Kind::activation}), 1);
  ASSERT_EQ(logits.size(), 1u);
  EXPECT_EQ(logits[0].shape(), (Shape{2, 3, 64, 192, 160}));
}

// PyTorch's own initialisation: uniform within 1 / sqrt(fan_in), for the stem 1 / sqrt(4 * 27) = 0.0962250.
TEST(segresnet, begins_as_monai_does) {
  ParameterStore store;
  find_network("segresnet").make(store, plan(32, {64, 192, 160}), 4, 3);
  store.initialize(5);
  const auto largest = [&](const std::string& name) {
    const View v = store.value(*store.find(name));
    float m = 0;
    for (int64_t i = 0; i < v.size(); ++i) m = std::max(m, std::abs(v.as<float>()[i]));
    return static_cast<double>(m);
  };
  EXPECT_LE(largest("convInit.conv.weight"), 0.0962251);
  EXPECT_GT(largest("convInit.conv.weight"), 0.095);
  EXPECT_LE(largest("conv_final.2.conv.bias"), 1 / std::sqrt(32.0));
  EXPECT_GT(largest("conv_final.2.conv.bias"), 0);
  EXPECT_EQ(largest("conv_final.0.weight"), 1);
  EXPECT_EQ(largest("conv_final.0.bias"), 0);
}

TEST(segresnet, trains_as_the_study_did) {
  const TrainingDefaults& d = find_network("segresnet").defaults;
  EXPECT_EQ(d.optimizer, "adam");
  EXPECT_EQ(d.lr, 1e-4);
  EXPECT_EQ(d.weight_decay, 1e-5);
  EXPECT_EQ(d.eps, 1e-5);
}

TEST(segresnet, refuses_what_it_cannot_take) {
  const Labels labels = brats_description("test").labels;
  const auto sentence_of = [&](const Configuration& c) {
    try {
      Learner({"segresnet", "dice-bce", 4, {}}, c, labels);
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::input);
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_NE(sentence_of(plan(8, {16, 20, 16})).find("--patch-size 16 24 16"), std::string::npos);
  EXPECT_NE(sentence_of(plan(8, {16, 20})).find("3-D configuration"), std::string::npos);
  EXPECT_NE(sentence_of(plan(12, {16, 16, 16})).find("--base-features"), std::string::npos);
  EXPECT_EQ(sentence_of(plan(8, {16, 8, 8})), "no error");
}

}  // namespace metvox
