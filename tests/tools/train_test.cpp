// SPDX-License-Identifier: Apache-2.0
// phantom -> plan -> preprocess -> train, killed and resumed -> predict -> evaluate, as processes.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "io/csv.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "tests/tools/subprocess.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

class train : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    root_ = new Path(fresh_folder("train"));
    const auto done = [](std::vector<std::string> arguments) {
      const Outcome o = metvox_run(std::move(arguments));
      ASSERT_EQ(o.code, 0) << o.err;
    };
    done({"phantom", "--out", raw(), "--cases", "3", "--seed", "7", "--size", "32x40x32"});
    done({"plan", raw(), "--out", data(), "--base-features", "4", "--patch-size", "16", "16", "16", "--batch-size",
          "2"});
    done({"preprocess", raw(), "--plans", data() / "plans.json", "--out", data()});
  }
  static void TearDownTestSuite() {
    fs::remove_all(*root_);
    delete root_;
  }
  static Path raw() { return *root_ / "raw"; }
  static Path data() { return *root_ / "preprocessed"; }
  static std::vector<std::string> arguments(const Path& out, const std::vector<std::string>& more = {},
                                            const char* epochs = "3") {
    std::vector<std::string> all{
        "train", data(),      "--out", out,           "--epochs", epochs, "--iterations", "2", "--val-iterations",
        "1",     "--threads", "1",     "--precision", "f32"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

 private:
  static Path* root_;
};
Path* train::root_ = nullptr;

const char* const kModel = "nnunet__dice-bce__3d_fullres";

}  // namespace

TEST_F(train, refuses_numbers_that_cannot_be) {
  const Path out = fresh_folder("out");
  for (const auto& more : std::vector<std::vector<std::string>>{{"--lr", "nan"},
                                                                {"--lr", "inf"},
                                                                {"--lr", "0"},
                                                                {"--lr", "-1"},
                                                                {"--save-every", "0"},
                                                                {"--save-every", "9000000000000000000"},
                                                                {"--fold", "x"}})
    EXPECT_EQ(metvox_run(arguments(out, more)).code, 2) << more[0] << " " << more[1];
  EXPECT_EQ(metvox_run(arguments(out, {}, "0")).code, 2);
  EXPECT_TRUE(fs::is_empty(out));
}

TEST_F(train, a_path_that_is_no_unicode_is_written_all_the_same) {
  const Path out = fresh_folder("out"), first = fresh_folder("first");
  ASSERT_EQ(metvox_run(arguments(first, {}, "1")).code, 0);
  const Outcome again = metvox_run(arguments(first, {}, "1"));
  EXPECT_EQ(again.code, 2);
  EXPECT_TRUE(says(again.err, "go on with --resume, or replace it with --overwrite"));
  EXPECT_EQ(metvox_run(arguments(first, {"--overwrite", "--resume"}, "1")).code, 2);
  const Path named = first / "caf\xe9.safetensors";
  fs::copy(first / kModel / "fold_0" / "checkpoint_final.safetensors", named);
  const Outcome o = metvox_run(arguments(out, {"--pretrained", named}, "1"));
  EXPECT_EQ(o.code, 0) << o.err;
}

TEST_F(train, a_profile_changes_no_weight) {
  const Path plain = fresh_folder("plain"), profiled = fresh_folder("profiled");
  ASSERT_EQ(metvox_run(arguments(plain, {}, "1")).code, 0);
  ASSERT_EQ(metvox_run(arguments(profiled, {"--profile"}, "1")).code, 0);
  const Path fold = profiled / kModel / "fold_0";
  EXPECT_EQ(read_bytes(plain / kModel / "fold_0" / "checkpoint_final.safetensors"),
            read_bytes(fold / "checkpoint_final.safetensors"));
  const CsvTable table = read_csv(fold / "profile.csv");
  double share = 0;
  for (const auto& row : table.rows) share += std::stod(row[table.column("share", "profile.csv")]);
  EXPECT_GT(table.rows.size(), 10u);
  EXPECT_NEAR(share, 1, 1e-6);
  EXPECT_GT(read_json(fold / "trace.json").at("traceEvents").size(), table.rows.size());
  EXPECT_FALSE(fs::exists(plain / kModel / "fold_0" / "profile.csv"));
}

TEST_F(train, one_broken_fold_hides_no_other) {
  const Path out = fresh_folder("out"), predictions = fresh_folder("predictions");
  ASSERT_EQ(metvox_run(arguments(out, {}, "1")).code, 0);
  const Path model = out / kModel, broken = model / "fold_1" / "checkpoint_final.safetensors";
  const Json sound = Json::parse(metvox_run({"inspect", model, "--json"}).out);
  EXPECT_TRUE(sound["faults"].empty());
  fs::copy(model / "fold_0", model / "fold_1");
  write_text(broken, std::string(fs::file_size(broken), '\0'));
  const Outcome o = metvox_run({"inspect", model, "--json"});
  EXPECT_EQ(o.code, 5);
  EXPECT_TRUE(says(o.err, broken.string() + ": is damaged"));
  const Json found = Json::parse(o.out);
  EXPECT_EQ(found["faults"].size(), 1u);
  EXPECT_EQ(found["folds"].size(), 1u);
  EXPECT_EQ(found["parameters"], sound["parameters"]);

  const auto predict = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all{"predict", "-i", raw() / "imagesTr", "-o", predictions, "-m", model, "--disable-tta"};
    all.insert(all.end(), more.begin(), more.end());
    return metvox_run(all);
  };
  const Outcome both = predict({});
  EXPECT_EQ(both.code, 3);
  EXPECT_TRUE(says(both.err, broken.string()));
  EXPECT_TRUE(fs::is_empty(predictions));
  const Outcome tiny = predict({"-f", "0", "--step-size", "1e-9"});
  EXPECT_EQ(tiny.code, 2);
  EXPECT_TRUE(says(tiny.err, "--step-size is a share of the patch from 0.05 to 1"));
  EXPECT_EQ(predict({"-f", "0"}).code, 0);
  EXPECT_EQ(Json::parse(read_text(predictions / "predict_config.json"))["engine"], "auto");
}

TEST_F(train, what_no_machine_holds_is_refused_with_the_numbers) {
  const Path out = fresh_folder("out"), copy = fresh_folder("copy");
  fs::copy(data(), copy, fs::copy_options::recursive);
  Json plans = read_json(copy / "plans.json");
  plans["configurations"]["3d_fullres"]["patch_size"] = {64, 64, 64};
  plans["configurations"]["3d_fullres"]["batch_size"] = 1 << 16;
  write_json(copy / "plans.json", plans);
  auto all = arguments(out);
  all[1] = copy;
  const Outcome o = metvox_run(all);
  EXPECT_EQ(o.code, 4);
  EXPECT_TRUE(says(o.err, "training needs "));
  EXPECT_TRUE(says(o.err, " MiB, but this machine"));
  EXPECT_TRUE(fs::is_empty(out));
}

TEST_F(train, dry_run_writes_nothing) {
  const Path out = fresh_folder("out"), copy = fresh_folder("copy");
  fs::copy(data(), copy, fs::copy_options::recursive);
  fs::remove(copy / "splits_final.json");
  auto all = arguments(out, {"--dry-run"});
  all[1] = copy;
  EXPECT_EQ(metvox_run(all).code, 0);
  EXPECT_TRUE(fs::is_empty(out));
  EXPECT_FALSE(fs::exists(copy / "splits_final.json"));
}

TEST_F(train, segresnet_on_a_gpu_computes_in_f32_unless_told_otherwise) {
  const Path out = fresh_folder("out"), wider = fresh_folder("wider");
  ASSERT_EQ(metvox_run({"plan", raw(), "--out", wider, "--base-features", "8", "--patch-size", "16", "16", "16",
                        "--batch-size", "2"})
                .code,
            0);
  ASSERT_EQ(metvox_run({"preprocess", raw(), "--plans", wider / "plans.json", "--out", wider}).code, 0);
  const auto arena_bytes = [&](const char* network, const char* precision) {
    const Outcome o = metvox_run({"train", wider, "--network", network, "--out", out, "--device", "sim", "--precision",
                                  precision, "--dry-run", "--json"});
    EXPECT_EQ(o.code, 0) << o.err;
    return Json::parse(o.out)["arena_bytes"].get<int64_t>();
  };
  EXPECT_EQ(arena_bytes("segresnet", "auto"), arena_bytes("segresnet", "f32"));
  EXPECT_LT(arena_bytes("segresnet", "bf16"), arena_bytes("segresnet", "f32"));
  EXPECT_EQ(arena_bytes("nnunet", "auto"), arena_bytes("nnunet", "bf16"));
}

TEST_F(train, killed_resumed_then_predicts_and_evaluates) {
  const Path whole = fresh_folder("whole"), broken = fresh_folder("broken"), out = fresh_folder("predictions"),
             scores = fresh_folder("scores");
  const Outcome unbroken = metvox_run(arguments(whole));
  ASSERT_EQ(unbroken.code, 0) << unbroken.err;

  const Path fold = broken / kModel / "fold_0", latest = fold / "checkpoint_latest.safetensors",
             last = fold / "checkpoint_final.safetensors";
  // Where the machine is busy a run may end before it is killed: once more.
  for (int attempt = 0; attempt < 20 && !fs::exists(latest); ++attempt) {
    fs::remove_all(fold);
    Subprocess process{arguments(broken)};
    process.start();
    for (int i = 0; i < 20000 && !fs::exists(latest) && !fs::exists(last); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    kill(process.pid, SIGKILL);
    process.wait();
  }
  ASSERT_TRUE(fs::exists(latest));
  const Outcome resumed = metvox_run(arguments(broken, {"--resume"}));
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_TRUE(says(resumed.err, "resuming after epoch"));
  for (const char* name : {"checkpoint_final.safetensors", "checkpoint_best.safetensors"})
    EXPECT_EQ(read_bytes(fold / name), read_bytes(whole / kModel / "fold_0" / name)) << name;

  const Path images = fresh_folder("images");
  fs::copy(raw() / "imagesTr", images);
  const auto predict = [&](const std::string& more = "--quiet") {
    return metvox_run(
        {"predict", "-i", images, "-o", out, "-m", broken / kModel, "-f", "0", "--disable-tta", "--json", more});
  };
  const auto counts = [](const Outcome& o) {
    const Json j = Json::parse(o.out);
    return std::pair{j["written"].get<int>(), j["kept"].get<int>()};
  };
  const Outcome first = predict();
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(counts(first), (std::pair{3, 0}));
  EXPECT_EQ(counts(predict()), (std::pair{0, 3}));
  EXPECT_EQ(counts(predict("--overwrite")), (std::pair{3, 0}));
  const auto evaluate = [&](const Path& truth) {
    return metvox_run({"evaluate", "--pred", out, "--truth", truth, "--out", scores});
  };
  const Outcome measured = evaluate(raw() / "labelsTr");
  EXPECT_EQ(measured.code, 0) << measured.err;
  EXPECT_TRUE(fs::exists(scores / "summary.json"));
  EXPECT_EQ(evaluate(broken / "nowhere").code, 3);

  fs::resize_file(fs::directory_iterator(images)->path(), 100);
  EXPECT_EQ(predict("--overwrite").code, 5);
  for (const auto& image : fs::directory_iterator(images)) fs::resize_file(image.path(), 100);
  EXPECT_EQ(predict("--overwrite").code, 3);
}

}  // namespace metvox
