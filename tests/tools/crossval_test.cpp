// SPDX-License-Identifier: Apache-2.0
// train --save-probabilities, accumulate and find-best on two tiny models, as processes.
#include <gtest/gtest.h>

#include "io/json.h"
#include "tests/tools/subprocess.h"

namespace metvox {

namespace fs = std::filesystem;

TEST(crossval, from_two_models_to_instructions) {
  const Path root = fresh_folder("root"), raw = root / "raw", data = root / "data", results = root / "results";
  const auto done = [](std::vector<std::string> arguments) {
    const Outcome o = metvox_run(std::move(arguments));
    EXPECT_EQ(o.code, 0) << o.err;
    return o;
  };
  done({"phantom", "--out", raw, "--cases", "3", "--seed", "7", "--size", "32x40x32"});
  done({"plan", raw, "--out", data, "--base-features", "4", "--patch-size", "16", "16", "16", "--batch-size", "2"});
  done({"preprocess", raw, "--plans", data / "plans.json", "--out", data});
  const auto train = [&](const std::string& fold, const std::string& loss, std::vector<std::string> more) {
    std::vector<std::string> all{"train",    data, "--fold",       fold, "--loss",           loss, "--out", results,
                                 "--epochs", "1",  "--iterations", "2",  "--val-iterations", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return done(all);
  };
  const Path a = results / "nnunet__dice-bce__3d_fullres", b = results / "nnunet__tversky-bce__3d_fullres";
  for (const char* fold : {"0", "1"}) {
    train(fold, "dice-bce", {});
    train(fold, "tversky-bce", {"--save-probabilities"});
  }
  EXPECT_EQ(count_files(b, "_probabilities.safetensors"), 2);

  const Json collected = Json::parse(done({"accumulate", a, "-o", root / "crossval", "--json"}).out);
  EXPECT_EQ(collected["cases"], 2);
  EXPECT_EQ(collected["folds"], Json({"0", "1"}));
  EXPECT_EQ(read_json(root / "crossval" / "summary.json")["metric_per_case"].size(), 2u);
  EXPECT_EQ(metvox_run({"accumulate", a, "-o", root / "crossval"}).code, 2);
  const Outcome missing = metvox_run({"accumulate", a, "-f", "0", "2", "-o", root / "none"});
  EXPECT_EQ(missing.code, 3);
  EXPECT_TRUE(says(missing.err, "fold 2"));

  const Outcome refused = metvox_run({"find-best", a, b, "-o", root / "refused"});
  EXPECT_EQ(refused.code, 3);
  EXPECT_TRUE(says(refused.err, "--save-probabilities"));
  EXPECT_FALSE(fs::exists(root / "refused"));
  // A finished fold is validated again, and keeps its weights.
  const auto weights = read_bytes(a / "fold_0" / "checkpoint_final.safetensors");
  for (const char* fold : {"0", "1"}) train(fold, "dice-bce", {"--resume", "--save-probabilities"});
  EXPECT_EQ(count_files(a, "_probabilities.safetensors"), 2);
  EXPECT_EQ(read_bytes(a / "fold_0" / "checkpoint_final.safetensors"), weights);

  const Outcome best = done({"find-best", a, b, "-o", root / "best"});
  EXPECT_TRUE(says(best.out, "metvox predict -i INPUT_FOLDER"));
  const Json information = read_json(root / "best" / "inference_information.json");
  EXPECT_EQ(information["all_results"].size(), 3u);
  EXPECT_EQ(read_text(root / "best" / "inference_instructions.txt"), best.out);
  EXPECT_EQ(information["all_results"]["nnunet__dice-bce__3d_fullres"], collected["foreground_mean_dice"]);
}

}  // namespace metvox
