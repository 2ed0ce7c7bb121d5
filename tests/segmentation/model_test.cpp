// SPDX-License-Identifier: Apache-2.0
#include "segmentation/networks/model.h"

#include "fake_model.h"

namespace metvox {
namespace {

// A model whose checkpoints hold their own plans and description, as trained ones do.
Path trained_model(int folds) {
  const Path dir = write_fake_model(fresh_dir("results"), {8, 8, 12}, folds);
  for (int fold = 0; fold < folds; ++fold) {
    const Path file = dir / ("fold_" + std::to_string(fold)) / "checkpoint_final.safetensors";
    SafeTensors old = read_safetensors(file);
    std::vector<NamedView> tensors;
    for (const auto& [name, tensor] : old.tensors) tensors.push_back({name, tensor.view()});
    for (const char* name : {"plans", "dataset"})
      old.metadata[name] = json_text(read_json(dir / (std::string(name) + ".json")), -1);
    write_safetensors(file, tensors, old.metadata);
  }
  return dir;
}

std::string refusal(const Path& dir) {
  try {
    open_model(dir);
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::input);
    return e.what();
  }
  ADD_FAILURE() << "opened";
  return "";
}

template <class Change>
std::string refusal_after(const char* file, Change&& change) {
  const Path dir = trained_model(1);
  Json json = read_json(dir / file);
  change(json);
  write_json(dir / file, json);
  return refusal(dir);
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST(model, opens_what_was_trained) { EXPECT_EQ(open_model(trained_model(2)).folds.size(), 2u); }

TEST(model, refuses_plans_that_were_edited_since) {
  const auto plans = [](auto&& change) {
    return refusal_after("plans.json", [&](Json& j) { change(j["configurations"]["3d_fullres"]); });
  };
  const std::string spacing = plans([](Json& c) { c["spacing"] = {2, 1, 1}; });
  EXPECT_TRUE(holds(spacing, "plans.json: spacing is [2.0,1.0,1.0], but ")) << spacing;
  EXPECT_TRUE(holds(spacing, "checkpoint_final.safetensors was trained with [1.0,1.0,1.0]")) << spacing;
  EXPECT_TRUE(holds(plans([](Json& c) { c["patch_size"] = {8, 8, 8}; }), ": patch_size is"));
  EXPECT_TRUE(
      holds(plans([](Json& c) { c["normalization_schemes"][1] = "NoNormalization"; }), ": normalization_schemes"));
  EXPECT_TRUE(holds(plans([](Json& c) {
                      c["architecture"]["arch_kwargs"]["features_per_stage"] = {4, 8};
                    }),
                    ": features_per_stage is [4,8]"));
}

TEST(model, refuses_a_description_that_was_edited_since) {
  const std::string channels = refusal_after("dataset.json", [](Json& j) {
    j["channel_names"] = {{"0", "T1N"}, {"1", "T1C"}, {"2", "T2F"}, {"3", "T2W"}};
  });
  EXPECT_TRUE(holds(channels, "dataset.json: channel_names is [\"T1N\",\"T1C\",\"T2F\",\"T2W\"], but")) << channels;
  EXPECT_TRUE(holds(refusal_after("dataset.json", [](Json& j) { j["labels"]["TC"] = {1, 2}; }), ": labels is"));
  EXPECT_TRUE(holds(refusal_after("dataset.json",
                                  [](Json& j) {
                                    j["regions_class_order"] = {1, 2, 3};
                                  }),
                    ": regions_class_order is [1,2,3]"));
}

TEST(model, what_prediction_does_not_rest_on_may_be_edited) {
  const Path dir = trained_model(1);
  Json plans = read_json(dir / "plans.json"), dataset = read_json(dir / "dataset.json");
  plans["configurations"]["3d_fullres"]["batch_size"] = 7;
  plans["plans_name"] = "renamed";
  dataset["numTraining"] = 99;
  write_json(dir / "plans.json", plans);
  write_json(dir / "dataset.json", dataset);
  EXPECT_EQ(open_model(dir).folds.size(), 1u);
}

TEST(model, a_broken_fold_is_told_and_the_others_are_shown) {
  const Path dir = trained_model(3);
  std::filesystem::resize_file(dir / "fold_1" / "checkpoint_final.safetensors", 100);
  EXPECT_TRUE(holds(refusal(dir), "fold_1"));
  std::vector<std::string> faults;
  EXPECT_EQ(open_model(dir, "final", {}, &faults).folds, (std::vector<std::string>{"0", "2"}));
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_TRUE(holds(faults[0], "fold_1")) << faults[0];
  for (const char* fold : {"fold_0", "fold_2"}) write_text(dir / fold / "checkpoint_final.safetensors", "broken");
  EXPECT_THROW(open_model(dir, "final", {}, &faults), Error);
}

TEST(model, a_file_is_no_model_folder) {
  const Path dir = trained_model(1);
  EXPECT_TRUE(holds(refusal(dir / "plans.json"), "plans.json: is a file, not a model folder"));
}

}  // namespace metvox
