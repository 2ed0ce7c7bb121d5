// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/transfer.h"

#include <cstring>

#include "fake_model.h"

namespace metvox {
namespace {

using How = TransferredTensor::How;

constexpr const char* kInput = "encoder.stages.0.0.convs.0.conv.weight";

// A checkpoint of the fake model, whose channels are T1C T1N T2F T2W; `dataset`: with the metadata that says so;
// `masks` of a previous stage behind the channels.
Path checkpoint(bool dataset = true, int64_t masks = 0) {
  const Path dir = write_fake_model(fresh_dir("results"), {8, 8, 12}, 1);
  const Path file = dir / "fold_0" / "checkpoint_final.safetensors";
  SafeTensors old = read_safetensors(file);
  std::vector<NamedView> tensors;
  for (const auto& [name, tensor] : old.tensors) tensors.push_back({name, tensor.view()});
  const Tensor input = Tensor::empty({4, 4 + masks, 3, 3, 3}, DType::f32);
  for (int64_t i = 0; i < input.size(); ++i) input.data<float>()[i] = static_cast<float>(i) / 1024;
  if (masks > 0)
    for (NamedView& t : tensors)
      if (t.name == kInput) t.view = input.view();
  if (dataset) old.metadata["dataset"] = json_text(read_json(dir / "dataset.json"), -1);
  write_safetensors(file, tensors, old.metadata);
  return file;
}

// A new model of these channels after the transfer, beside the checkpoint's input weights.
struct Trained {
  ParameterStore store;
  std::unique_ptr<Network> network;
  Transfer transfer;
  Tensor then;

  Trained(const Path& file, const std::vector<std::string>& channels, const std::optional<NewChannels>& rule = {},
          int masks = 0) {
    Configuration c = fake_configuration({8, 8, 12});
    network = find_network("nnunet").make(store, c, static_cast<int>(channels.size()) + masks, 3);
    store.initialize(99);
    transfer = plan_transfer(store, file, channels, rule);
    transfer_weights(store, transfer);
    then = read_safetensors(file).tensors.at(kInput);
  }
  // Tap i of output k, of a channel now and of one then.
  float now(int64_t k, int64_t c, int64_t i) const {
    const Parameter& p = *store.find(kInput);
    return store.read(p).data<float>()[(k * p.shape[1] + c) * 27 + i];
  }
  float old(int64_t k, int64_t c, int64_t i) const { return then.data<float>()[(k * then.shape()[1] + c) * 27 + i]; }
  const TransferredTensor& input() const {
    for (const TransferredTensor& t : transfer.tensors)
      if (t.name == kInput) return t;
    throw std::runtime_error("no input");
  }
};

std::string refusal(const Path& file, const std::vector<std::string>& channels, int masks = 0) {
  try {
    Trained(file, channels, {}, masks);
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::input);
    return e.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

template <class Check>
void each_tap(Check check) {
  for (int64_t k = 0; k < 4; ++k)
    for (int64_t i = 0; i < 27; ++i) check(k, i);
}

}  // namespace

TEST(transfer, takes_all_but_the_heads) {
  const Path file = checkpoint();
  const Trained t(file, {"T1C", "T1N", "T2F", "T2W"});
  const SafeTensors from = read_safetensors(file);
  EXPECT_EQ(t.transfer.count(How::adapted), 0);
  EXPECT_EQ(t.transfer.count(How::anew), 2);
  EXPECT_EQ(t.transfer.count(How::copied), static_cast<int64_t>(t.store.parameters().size()) - 2);
  for (const Parameter& p : t.store.parameters()) {
    if (p.name == "decoder.seg_layers.0.bias") continue;  // zero in both
    EXPECT_EQ(std::memcmp(t.store.value(p).data, from.tensors.at(p.name).view().data, t.store.value(p).bytes()) == 0,
              p.name != "decoder.seg_layers.0.weight")
        << p.name;
  }
  EXPECT_EQ(to_json(t.transfer)["new"], 2);
  EXPECT_EQ(to_json(t.transfer)["tensors"].size(), t.store.parameters().size());
}

TEST(transfer, channels_in_another_order_are_matched_by_name) {
  const Trained t(checkpoint(), {"T2W", "T1ce", "FLAIR", "T1"});
  const int64_t then[] = {3, 0, 2, 1};
  for (int64_t c = 0; c < 4; ++c)
    each_tap([&](int64_t k, int64_t i) { ASSERT_EQ(t.now(k, c, i), t.old(k, then[c], i)) << c; });
  EXPECT_EQ(t.input().how, How::adapted);
  EXPECT_NE(t.input().why.find("T2W from T2W, T1ce from T1C"), std::string::npos) << t.input().why;
}

TEST(transfer, masks_of_a_previous_stage_keep_their_place) {
  const Trained t(checkpoint(true, 3), {"T2W", "T1ce", "FLAIR", "T1"}, {}, 3);
  const int64_t then[] = {3, 0, 2, 1, 4, 5, 6};
  for (int64_t c = 0; c < 7; ++c)
    each_tap([&](int64_t k, int64_t i) { ASSERT_EQ(t.now(k, c, i), t.old(k, then[c], i)) << c; });
  const std::string text = refusal(checkpoint(), {"T1C", "T1N", "T2F", "T2W"}, 3);
  EXPECT_NE(text.find("this training is on T1C, T1N, T2F, T2W, label 1 of the previous stage"), std::string::npos)
      << text;
}

TEST(transfer, channels_that_differ_need_a_rule) {
  const std::string text = refusal(checkpoint(), {"T1C", "ADC"});
  EXPECT_NE(text.find("was trained on T1C, T1N, T2F, T2W, this training is on T1C, ADC"), std::string::npos) << text;
  EXPECT_NE(text.find("--pretrained-channels"), std::string::npos);
}

TEST(transfer, a_new_channel_begins_by_the_rule) {
  const Path file = checkpoint();
  const Trained average(file, {"ADC", "T2F"}, NewChannels::average), zero(file, {"ADC", "T2F"}, NewChannels::zero),
      drop(file, {"ADC", "T2F"}, NewChannels::drop);
  each_tap([&](int64_t k, int64_t i) {
    const float mean = (average.old(k, 0, i) + average.old(k, 1, i) + average.old(k, 2, i) + average.old(k, 3, i)) / 4;
    ASSERT_NEAR(average.now(k, 0, i), mean, 4 * 6e-8);  // four roundings of values below 1
    ASSERT_EQ(average.now(k, 1, i), average.old(k, 2, i));
    ASSERT_EQ(zero.now(k, 0, i), 0);
    ASSERT_EQ(zero.now(k, 1, i), zero.old(k, 2, i));
    ASSERT_NE(drop.now(k, 1, i), drop.old(k, 2, i));
  });
  EXPECT_EQ(drop.input().how, How::anew);
  EXPECT_EQ(drop.transfer.count(How::anew), 3);
}

TEST(transfer, a_checkpoint_that_does_not_name_its_channels_is_taken_as_it_is) {
  EXPECT_EQ(Trained(checkpoint(false), {"A", "B", "C", "D"}).input().how, How::copied);
  EXPECT_NE(refusal(checkpoint(false), {"A", "B"}).find(kInput), std::string::npos);
  EXPECT_EQ(Trained(checkpoint(), {"MRI", "MRI", "T2F", "T2W"}).input().how, How::copied);  // names that say nothing
}

TEST(transfer, refuses_what_does_not_fit) {
  const Path file = checkpoint();
  SafeTensors old = read_safetensors(file);
  old.tensors.erase("encoder.stages.1.0.convs.0.norm.bias");
  std::vector<NamedView> tensors;
  for (const auto& [name, tensor] : old.tensors) tensors.push_back({name, tensor.view()});
  write_safetensors(file, tensors, old.metadata);
  EXPECT_NE(refusal(file, {"T1C", "T1N", "T2F", "T2W"}).find("has no tensor encoder.stages.1.0.convs.0.norm.bias (6)"),
            std::string::npos);
  EXPECT_NE(refusal("model.pth", {"T1C"}).find("metvox import"), std::string::npos);
}

}  // namespace metvox
