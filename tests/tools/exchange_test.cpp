// SPDX-License-Identifier: Apache-2.0
// import, export and verify as people run them.
#include "io/json.h"
#include "subprocess.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;
const Path kGolden = Path(METVOX_SOURCE_DIR) / "tests" / "golden";

std::string line_of(const std::string& out) { return out.substr(0, out.find('\n')); }

Path imported(const Path& results) {
  const Outcome o = metvox_run({"import", kGolden / "exchange" / "plain", "--out", results});
  EXPECT_EQ(o.code, 0) << o.err;
  return line_of(o.out);
}

}  // namespace

TEST(exchange, a_model_comes_in_predicts_and_goes_out) {
  const Path dir = fresh_folder("exchange"), model = imported(dir / "results");
  const Outcome predicted =
      metvox_run({"predict", "-i", kGolden / "exchange" / "plain" / "oracle", "-o", dir / "out", "-m", model});
  EXPECT_EQ(predicted.code, 0) << predicted.err;
  EXPECT_EQ(count_files(dir / "out", ".nii.gz"), 1);
  EXPECT_EQ(read_json(dir / "out" / "predict_config.json")["sums"], "f16");  // labels, as nnU-Net's
  const auto sums_with = [&](const std::string& option, const std::string& value) {
    const Path out = dir / ("out" + option + value);
    std::vector<std::string> all{"predict", "-i",  kGolden / "exchange" / "plain" / "oracle", "-o", out, "-m",
                                 model,     option};
    if (!value.empty()) all.push_back(value);
    const Outcome o = metvox_run(all);
    EXPECT_EQ(o.code, 0) << o.err;
    return read_json(out / "predict_config.json")["sums"];
  };
  EXPECT_EQ(sums_with("--sums", "f32"), "f32");
  EXPECT_EQ(sums_with("--save-probabilities", ""), "f32");
  for (const char* format : {"onnx", "safetensors", "nnunet"}) {
    const Outcome out = metvox_run({"export", model, "--format", format, "--out", dir / format, "--json"});
    EXPECT_EQ(out.code, 0) << out.err;
    for (const Json& file : Json::parse(out.out)["files"]) EXPECT_TRUE(fs::exists(file.get<std::string>())) << file;
    EXPECT_EQ(metvox_run({"export", model, "--format", format, "--out", dir / format}).code, 2);
  }
}

TEST(exchange, verify_prints_a_certificate_and_its_code_tells) {
  const Path model = imported(fresh_folder("exchange") / "results");
  EXPECT_EQ(metvox_run({"verify", model}).code, 3);
  fs::copy(kGolden / "exchange" / "plain" / "oracle", model / "oracle");
  const Outcome good = metvox_run({"verify", model, "--json"});
  EXPECT_EQ(good.code, 0) << good.err;
  EXPECT_TRUE(Json::parse(good.out)["ok"].get<bool>());
  fs::copy_file(kGolden / "exchange" / "plain" / "oracle" / "case_0001.nii.gz", model / "oracle" / "case_0000.nii.gz",
                fs::copy_options::overwrite_existing);
  const Outcome bad = metvox_run({"verify", model});
  EXPECT_EQ(bad.code, 6) << bad.err;
  EXPECT_TRUE(says(bad.out, "BEYOND"));
}

TEST(exchange, what_is_bad_is_named_and_nothing_is_written) {
  const Path dir = fresh_folder("exchange");
  const auto import_bad = [&](const Path& source, const std::string& part) {
    const Outcome o = metvox_run({"import", source, "--out", dir / "results", "--channels", "A", "B", "--labels", "x=1",
                                  "--spacing", "1", "1", "1", "--patch-size", "16", "16", "16"});
    EXPECT_EQ(o.code, 3) << o.err;
    EXPECT_TRUE(says(o.err, part));
    EXPECT_FALSE(fs::exists(dir / "results"));
  };
  import_bad(kGolden / "torch" / "command.pth", "asks for posix.system");
  import_bad(kGolden / "torch" / "legacy.pt", "before 1.6");
  import_bad(kGolden / "torch" / "script.pt", "TorchScript");
  import_bad(kGolden / "torch" / "values.pth", "network that is known here");
  import_bad(kGolden / "plans.json", "no file of torch.save()");
  import_bad(dir / "absent.pt", "there is no file or folder");
  import_bad(kGolden / "exchange" / "segresnet" / "model.pt", "its labels make 2 heads, but the weights of");
}

TEST(exchange, options_that_do_not_belong_are_usage) {
  const Path dir = fresh_folder("exchange"), weights = kGolden / "exchange" / "segresnet" / "model.pt";
  const Outcome bare = metvox_run({"import", weights, "--out", dir});
  EXPECT_EQ(bare.code, 2);
  EXPECT_TRUE(says(bare.err, "--channels is missing"));
  EXPECT_EQ(metvox_run({"import", weights, "--out", dir, "-f", "0"}).code, 2);
  EXPECT_EQ(metvox_run({"import", kGolden / "exchange" / "plain", "--out", dir, "--mask-norm"}).code, 2);
  EXPECT_EQ(metvox_run({"import", weights, "--like", kGolden / "exchange" / "segresnet", "--out", dir}).code, 0);
}

}  // namespace metvox
