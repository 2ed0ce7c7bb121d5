// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/config.h"

#include <gtest/gtest.h>

namespace metvox {
namespace {

const char* const kPhantoms = R"({"public": {"phantom": {}}, "private": {"phantom": {}}, "held_out": {"phantom": {}}})";

StudyConfig config_of(const Json& json, const std::string& scale = "") {
  return study_config(json, "/somewhere/study.json", scale);
}

// The phantom study with one key set or replaced.
Json with(const std::string& pointer, const Json& value) {
  Json json = Json::parse(kPhantoms);
  json[Json::json_pointer(pointer)] = value;
  return json;
}

std::string refusal(const Json& json) {
  try {
    config_of(json);
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::input);
    return e.what();
  }
  return "nothing was refused";
}

}  // namespace

TEST(study_config, paper_scale_is_the_published_design) {
  const StudyConfig c = config_of(Json::parse(kPhantoms));
  EXPECT_EQ(c.scale, "paper");
  EXPECT_EQ(c.models.size(), 3u);
  EXPECT_EQ(c.model("tverskybce").loss, "tversky-bce");
  EXPECT_EQ(c.model("segresnet").network, "segresnet");
  EXPECT_FALSE(c.model("segresnet").lr.has_value());
  EXPECT_EQ(c.folds, (std::vector<std::string>{"0", "1", "2", "3", "4"}));
  EXPECT_EQ(c.pretraining_folds(), c.folds);
  EXPECT_EQ(c.pretraining_epochs, 200);
  EXPECT_EQ(c.training_epochs, 100);
  EXPECT_EQ(c.iterations, 250);
  EXPECT_TRUE(c.mirroring);
  EXPECT_EQ(c.private_data.phantom->cases, 26);
  EXPECT_EQ(c.held_out.phantom->cases, 10);
  EXPECT_EQ(c.private_data.phantom->domain, "private");
  EXPECT_EQ(c.reference, "tverskybce");
}

TEST(study_config, demo_scale_is_small_and_gives_segresnet_a_rate_of_its_own) {
  const StudyConfig c = config_of(Json::parse(kPhantoms), "demo");
  EXPECT_EQ(c.plan.base_features, 8);
  EXPECT_EQ(c.public_data.phantom->size, (std::array<int64_t, 3>{96, 112, 96}));
  EXPECT_GT(c.model("segresnet").lr.value(), 1e-4);
  EXPECT_FALSE(c.model("default").lr.has_value());
  // The flag goes before the file; what the file says goes before the scale.
  Json json = with("/scale", "paper");
  json["iterations"] = 7;
  EXPECT_EQ(config_of(json, "demo").plan.base_features, 8);
  EXPECT_EQ(config_of(json, "demo").iterations, 7);
  EXPECT_EQ(config_of(json).plan.base_features, 32);
}

TEST(study_config, reads_itself_back) {
  Json json = with("/held_out", {{"images", "test/images"}, {"truth", "/elsewhere"}});
  json["private"] = {{"raw", "../raw"}};
  json["public"] = {{"phantom", {{"cases", 3}, {"seed", 9}, {"label_maps", {"head.nii.gz"}}}}};
  json["models"] = {{"mine", {{"network", "nnunet"}, {"loss", "dice-bce"}, {"lr", 0.005}}},
                    {"default", Json::object()}};
  json["folds"] = {"all"};
  json["pretraining"] = {{"epochs", 2}, {"fold", 1}};
  const StudyConfig c = config_of(json);
  EXPECT_EQ(c.private_data.raw, "/raw");
  EXPECT_EQ(c.held_out.images, "/somewhere/test/images");
  EXPECT_EQ(c.held_out.truth, "/elsewhere");
  EXPECT_EQ(c.public_data.phantom->label_maps, std::vector<Path>{"/somewhere/head.nii.gz"});
  EXPECT_EQ(c.models[0].name, "mine");
  EXPECT_EQ(c.models[1].loss, "dice-bce");
  EXPECT_EQ(c.pretraining_folds(), std::vector<std::string>{"1"});
  EXPECT_EQ(c.reference, "mine");
  EXPECT_EQ(to_json(study_config(to_json(c), "/another/folder/study.json")), to_json(c));
  for (const char* scale : {"paper", "demo"}) {
    const StudyConfig plain = config_of(Json::parse(kPhantoms), scale);
    EXPECT_EQ(to_json(config_of(to_json(plain))), to_json(plain));
  }
}

TEST(study_config, unknown_keys_are_refused_by_name) {
  EXPECT_EQ(refusal(with("/epoch", 3)).find("/somewhere/study.json: the study has an unknown key \"epoch\"; it may"),
            0u);
  for (const auto& [pointer, name] : {std::pair{"/private/phantom/case", "\"private.phantom\""},
                                      {"/public/folder", "\"public\""},
                                      {"/held_out/case", "\"held_out\""},
                                      {"/plan/base_feature", "\"plan\""},
                                      {"/models/default/learning_rate", "\"models.default\""},
                                      {"/pretraining/epoch", "\"pretraining\""},
                                      {"/training/epoch", "\"training\""},
                                      {"/prediction/mirror", "\"prediction\""}}) {
    const std::string key = std::string(pointer).substr(std::string(pointer).rfind('/') + 1),
                      said = refusal(with(pointer, 1));
    EXPECT_NE(said.find(std::string(name) + " has an unknown key \"" + key + "\""), std::string::npos) << said;
  }
  EXPECT_NO_THROW(config_of(with("/comment", "anything")));
  EXPECT_NO_THROW(config_of(with("/plan/comment", "anything")));
}

TEST(study_config, values_that_cannot_be_are_refused) {
  const struct {
    const char* pointer;
    Json value;
    const char* said;
  } cases[] = {
      {"/scale", "large", "it may be demo, paper"},
      {"/public", Json::object(), "needs one of \"raw\" and \"phantom\""},
      {"/public/raw", "x", "needs one of \"raw\" and \"phantom\""},
      {"/private/phantom/size", {4, 8, 8}, "beyond 8 to 1024"},
      {"/private/phantom/cases", 0, "1 to"},
      {"/private/phantom/seed", -1, "an integer from 0"},
      {"/held_out", {{"images", "x"}}, "needs both"},
      {"/held_out", {{"cases", {"a"}}}, "made of phantoms"},
      {"/held_out/phantom/seed", 1001, "the same heads"},
      {"/plan/patch_size", {48, 48}, "another kind"},
      {"/plan/preset", "huge", "resenc-m"},
      {"/models", Json::object(), "names no model"},
      {"/models/a b", {{"network", "nnunet"}, {"loss", "dice-bce"}}, "letters, digits"},
      {"/models/pooled", {{"network", "nnunet"}, {"loss", "dice-bce"}}, "not pooled"},
      {"/models/new", {{"loss", "dice-bce"}}, "lacks the key \"network\""},
      {"/models/new", {{"network", "vnet"}, {"loss", "dice-bce"}}, "has the network \"vnet\"; there are nnunet"},
      {"/models/new", {{"network", "nnunet"}, {"loss", "dice"}}, "has the loss \"dice\""},
      {"/models/default/lr", 0, "not above 0"},
      {"/folds", Json::array(), "a list such as"},
      {"/folds", {0, 0}, "fold 0 twice"},
      {"/folds", {"all", 0}, "all, alone"},
      {"/folds", {-1}, "numbers from 0"},
      {"/pretraining/fold", "first", "matched, all or a number"},
      {"/training/epochs", 0, "1 to"},
      {"/iterations", 1.5, "an integer"},
      {"/prediction/step_size", 0, "0.05 to 1"},
      {"/reference", "nobody", "not one of its models"},
  };
  for (const auto& c : cases) {
    const std::string said = refusal(with(c.pointer, c.value));
    EXPECT_NE(said.find(c.said), std::string::npos) << c.pointer << ": " << said;
  }
  EXPECT_NE(refusal(Json::array()).find("not an object"), std::string::npos);
  Json missing = Json::parse(kPhantoms);
  missing.erase("private");
  EXPECT_NE(refusal(missing).find("lacks the key \"private\""), std::string::npos);
}

}  // namespace metvox
