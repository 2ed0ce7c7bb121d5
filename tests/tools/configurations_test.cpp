// SPDX-License-Identifier: Apache-2.0
// plan -> preprocess -> train -> predict in 2d, 3d_lowres and 3d_cascade_fullres, as processes on tiny heads.
#include <gtest/gtest.h>

#include <cstring>

#include "io/json.h"
#include "io/nifti.h"
#include "io/safetensors.h"
#include "tests/tools/subprocess.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

class configurations : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    root_ = new Path(fresh_folder("configurations"));
    done({"phantom", "--out", raw(), "--cases", "3", "--seed", "7", "--size", "32x40x32"});
    done({"plan", raw(), "--out", data(), "--base-features", "4", "--patch-size", "16", "16", "16", "--batch-size",
          "2"});
    add_cascade(data() / "plans.json");
    done({"preprocess", raw(), "--plans", data() / "plans.json", "--out", data(), "-c", "2d", "3d_fullres",
          "3d_lowres"});
  }
  static void TearDownTestSuite() {
    fs::remove_all(*root_);
    delete root_;
  }
  static Path raw() { return *root_ / "raw"; }
  static Path data() { return *root_ / "preprocessed"; }
  static Outcome done(std::vector<std::string> arguments) {
    const Outcome o = metvox_run(std::move(arguments));
    EXPECT_EQ(o.code, 0) << o.err;
    return o;
  }
  static std::vector<std::string> train(const std::string& config, const std::string& fold, const Path& out) {
    return {"train",    data(), "--config",     config, "--fold",           fold, "--out", out,
            "--epochs", "1",    "--iterations", "1",    "--val-iterations", "1"};
  }

 private:
  // So small a data set is planned without a cascade: this one has half the resolution before the full one.
  static void add_cascade(const Path& file) {
    Json plans = read_json(file);
    Json& all = plans["configurations"];
    Json low = all["3d_fullres"];
    for (Json& mm : low["spacing"]) mm = mm.get<double>() * 2;
    for (Json& voxels : low["median_image_size_in_voxels"]) voxels = voxels.get<double>() / 2;
    low["data_identifier"] = "nnUNetPlans_3d_lowres";
    low["next_stage"] = "3d_cascade_fullres";
    all["3d_lowres"] = low;
    all["3d_cascade_fullres"] = {{"inherits_from", "3d_fullres"}, {"previous_stage", "3d_lowres"}};
    write_json(file, plans);
  }
  static Path* root_;
};
Path* configurations::root_ = nullptr;

void expect_labels_on_the_grid_of(const Path& labels, const Path& image) {
  EXPECT_TRUE(same_grid(read_nifti_labels(labels).geometry, read_nifti_header(image).geometry)) << labels;
}

}  // namespace

TEST_F(configurations, slices) {
  const Path out = fresh_folder("out"), predictions = fresh_folder("predictions");
  const Path model = out / "nnunet__dice-bce__2d";
  EXPECT_EQ(done(train("2d", "0", out)).out, model.string() + "\n");
  EXPECT_EQ(count_files(model / "fold_0" / "validation", ".nii.gz"), 1);
  done({"predict", "-i", raw() / "imagesTr", "-o", predictions, "-m", model, "--disable-tta"});
  EXPECT_EQ(count_files(predictions, ".nii.gz"), 3);
  for (const auto& entry : fs::directory_iterator(raw() / "labelsTr"))
    expect_labels_on_the_grid_of(predictions / entry.path().filename(), entry.path());
}

TEST_F(configurations, a_cascade) {
  const Path out = fresh_folder("out"), low = fresh_folder("low"), full = fresh_folder("full");
  const Path first = out / "nnunet__dice-bce__3d_lowres", second = out / "nnunet__dice-bce__3d_cascade_fullres";
  done(train("3d_lowres", "0", out));
  const Path next = first / "predicted_next_stage" / "3d_cascade_fullres";
  EXPECT_EQ(count_files(next, ".safetensors"), 1);
  const Outcome early = metvox_run(train("3d_cascade_fullres", "0", out));
  EXPECT_EQ(early.code, 3);
  EXPECT_TRUE(says(early.err, "train the previous stage first"));

  for (const char* fold : {"1", "2"}) done(train("3d_lowres", fold, out));
  EXPECT_EQ(count_files(next, ".safetensors"), 3);
  for (const auto& entry : fs::directory_iterator(next)) {
    const Tensor seg = read_safetensors(entry.path()).tensors.at("seg");
    EXPECT_EQ(
        seg.shape(),
        read_safetensors_header(data() / "nnUNetPlans_3d_fullres" / entry.path().filename()).specs.at("seg").shape);
    EXPECT_EQ(seg.dtype(), DType::i8);
  }
  // What is missing of a finished fold is made again.
  fs::remove_all(next);
  for (const char* fold : {"0", "1", "2"}) {
    auto again = train("3d_lowres", fold, out);
    again.push_back("--resume");
    done(again);
  }
  EXPECT_EQ(count_files(next, ".safetensors"), 3);

  done(train("3d_cascade_fullres", "0", out));
  EXPECT_EQ(count_files(second / "fold_0" / "validation", ".nii.gz"), 1);
  done({"inspect", second, "--json"});
  EXPECT_EQ(read_safetensors_header(second / "fold_0" / "checkpoint_final.safetensors")
                .specs.at("encoder.stages.0.0.convs.0.conv.weight")
                .shape[1],
            4 + 3);  // sequences and labels

  const auto predict = [&](const Path& model, const Path& to, const std::vector<std::string>& more) {
    std::vector<std::string> all{"predict", "-i", raw() / "imagesTr", "-o", to, "-m", model, "--disable-tta"};
    all.insert(all.end(), more.begin(), more.end());
    return metvox_run(all);
  };
  EXPECT_EQ(predict(first, low, {}).code, 0);
  EXPECT_EQ(predict(first, full, {"--prev-stage-predictions", low}).code, 2);
  const Outcome alone = predict(second, full, {});
  EXPECT_EQ(alone.code, 2);
  EXPECT_TRUE(says(alone.err, first.string()));
  const Outcome both = predict(second, full, {"--prev-stage-predictions", low});
  EXPECT_EQ(both.code, 0) << both.err;
  for (const auto& entry : fs::directory_iterator(raw() / "labelsTr"))
    expect_labels_on_the_grid_of(full / entry.path().filename(), entry.path());
  const Path explained = fresh_folder("explained");
  const std::vector<std::string> explain{
      "explain", "-i",       raw() / "imagesTr", "-m",     second,   "--truth", raw() / "labelsTr",
      "-o",      explained,  "--disable-tta",    "--json", "--what", "entropy", "errors",
      "gradcam", "occlusion"};
  const Outcome without = metvox_run(explain);
  EXPECT_EQ(without.code, 2);
  EXPECT_TRUE(says(without.err, first.string()));
  auto with = explain;
  with.insert(with.end(), {"--prev-stage-predictions", low});
  for (const Json& numbers : Json::parse(done(with).out)["cases"]) {
    const std::string id = numbers["case"];
    const Tensor expected = read_nifti_labels(full / (id + ".nii.gz")).voxels,
                 got = read_nifti_labels(explained / id / "segmentation.nii.gz").voxels;
    EXPECT_EQ(std::memcmp(got.view().data, expected.view().data, got.bytes()), 0) << id;
    const Json& lost = numbers["lesion"]["occlusion"]["lost_without"];
    EXPECT_EQ(lost.size(), 7u);
    EXPECT_TRUE(lost.contains("label 3 of the previous stage"));
  }
  EXPECT_TRUE(says(read_text(explained / "index.html"), "every label of the previous stage taken away"));

  fs::remove(low / fs::directory_iterator(raw() / "labelsTr")->path().filename());
  const Outcome partial = predict(second, full, {"--prev-stage-predictions", low, "--overwrite"});
  EXPECT_EQ(partial.code, 5);
  EXPECT_TRUE(says(partial.err, "predict the same images with 3d_lowres first"));
}

}  // namespace metvox
