// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "segmentation/networks/network.h"

namespace metvox {
namespace {

Configuration unet(const std::vector<int>& features, const std::vector<Int3>& kernels,
                   const std::vector<Int3>& strides) {
  Configuration c;
  c.architecture.network_class_name = "PlainConvUNet";
  c.architecture.features_per_stage = features;
  c.architecture.kernel_sizes = kernels;
  c.architecture.strides = strides;
  c.architecture.n_conv_per_stage.assign(features.size(), 2);
  c.architecture.n_conv_per_stage_decoder.assign(features.size() - 1, 2);
  return c;
}

Configuration residual(const std::vector<int>& features, const std::vector<Int3>& kernels,
                       const std::vector<Int3>& strides) {
  Configuration c = unet(features, kernels, strides);
  c.architecture.network_class_name = "ResidualEncoderUNet";
  const std::vector<int> blocks{1, 3, 4, 6, 6, 6, 6};
  c.architecture.n_conv_per_stage.assign(blocks.begin(), blocks.begin() + static_cast<long>(features.size()));
  c.architecture.n_conv_per_stage_decoder.assign(features.size() - 1, 1);
  return c;
}

const std::vector<int> kFeatures{32, 64, 128, 256, 320, 320};

int64_t count(const Configuration& c) {
  ParameterStore store;
  find_network("nnunet").make(store, c, 4, 3);
  int64_t n = 0;
  for (const Parameter& p : store.parameters()) n += p.shape.size();
  return n;
}

}  // namespace

TEST(unet, has_the_published_parameter_counts) {
  const Int3 one{1, 1, 1}, two{2, 2, 2}, three{3, 3, 3};
  EXPECT_EQ(
      count(unet(kFeatures, {{1, 3, 3}, three, three, three, three, three}, {one, {1, 2, 2}, two, two, two, two})),
      31114767);
  EXPECT_EQ(count(unet(kFeatures, std::vector<Int3>(6, three), {one, two, two, two, two, {2, 2, 1}})), 30789391);
  EXPECT_EQ(count(unet(kFeatures, std::vector<Int3>(6, three), {one, two, two, two, two, two})), 31198991);
}

// Counted with dynamic-network-architectures 0.4.4; the first by the study's plan.
TEST(unet, has_the_parameter_counts_of_the_residual_presets) {
  const Int3 one{1, 1, 1}, two{2, 2, 2}, three{3, 3, 3};
  const std::vector<Int3> cubes(6, three);
  EXPECT_EQ(
      count(residual(kFeatures, {{1, 3, 3}, three, three, three, three, three}, {one, {1, 2, 2}, two, two, two, two})),
      102268943);
  EXPECT_EQ(count(residual(kFeatures, cubes, {one, two, two, two, two, two})), 102353167);
  EXPECT_EQ(count(residual(kFeatures, cubes, {one, two, two, two, two, {2, 2, 1}})), 101943567);
  EXPECT_EQ(count(residual({32, 64, 128, 256, 320, 320, 320}, std::vector<Int3>(7, three),
                           {one, two, two, two, two, two, {1, 2, 2}})),
            141483730);
}

// The last norm of a block begins at zero: with it the block is its skip.
TEST(unet, residual_blocks_begin_as_their_skips) {
  const Int3 one{1, 1, 1}, two{2, 2, 2}, three{3, 3, 3};
  ParameterStore store;
  find_network("nnunet").make(store, residual({4, 8, 8}, std::vector<Int3>(3, three), {one, two, two}), 2, 3);
  store.initialize(3);
  const auto first = [&](const std::string& name) { return store.value(*store.find(name)).as<float>()[0]; };
  EXPECT_EQ(first("encoder.stages.1.blocks.0.conv2.norm.weight"), 0);
  EXPECT_EQ(first("encoder.stages.1.blocks.0.conv1.norm.weight"), 1);
  EXPECT_EQ(first("encoder.stages.1.blocks.0.skip.1.norm.weight"), 1);
  EXPECT_EQ(store.find("encoder.stages.1.blocks.0.skip.1.conv.bias"), nullptr);
  EXPECT_EQ(store.find("encoder.stages.2.blocks.0.skip.1.conv.weight"), nullptr);
}

TEST(unet, draws_the_outputs_asked_for_at_their_resolutions) {
  const Int3 one{1, 1, 1}, two{2, 2, 2}, three{3, 3, 3};
  ParameterStore store;
  auto net = find_network("nnunet").make(
      store, unet({4, 8, 8, 8}, std::vector<Int3>(4, three), {one, {1, 2, 2}, two, two}), 2, 3);
  EXPECT_EQ(net->outputs(), 3);
  EXPECT_EQ(net->divisor(), (Int3{4, 8, 8}));
  Graph graph;
  const auto logits = net->build(graph.input("x", {{2, 2, 8, 16, 16}, Kind::activation}), 2);
  ASSERT_EQ(logits.size(), 2u);
  EXPECT_EQ(logits[0].shape(), (Shape{2, 3, 8, 16, 16}));
  EXPECT_EQ(logits[1].shape(), (Shape{2, 3, 8, 8, 8}));
  EXPECT_NE(store.find("decoder.seg_layers.0.weight"), nullptr);
  for (const Node& n : graph.nodes()) EXPECT_EQ(n.name.find("decoder.seg_layers.0"), std::string::npos);
}

}  // namespace metvox
