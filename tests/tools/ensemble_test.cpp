// SPDX-License-Identifier: Apache-2.0
// ensemble as a process, on predictions made here.
#include <gtest/gtest.h>

#include "io/json.h"
#include "io/nifti.h"
#include "segmentation/inference/predict_cases.h"
#include "tests/tools/subprocess.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

const Geometry kGrid = make_geometry({4, 3, 2}, Affine{});

void write_member(const Path& dir, const std::string& id, float value) {
  const DatasetDescription dataset = brats_description("x");
  const Tensor p = Tensor::empty({3, 2, 3, 4}, DType::f32);
  std::fill_n(p.data<float>(), p.size(), value);
  write_json(dir / "dataset.json", dataset.json);
  write_probabilities(dir, id, p, dataset.labels);
  write_segmentation(dir, id, Tensor::zeros({2, 3, 4}, DType::u8), kGrid, dataset.labels, "");
}

}  // namespace

TEST(ensemble, averages_what_it_can) {
  const Path a = fresh_folder("a"), b = fresh_folder("b"), out = fresh_folder("out");
  for (const char* id : {"one", "two"}) {
    write_member(a, id, .4f);
    write_member(b, id, .8f);
  }
  const Outcome o = metvox_run({"ensemble", "-i", a, b, "-o", out, "--save-probabilities", "--json"});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(Json::parse(o.out)["written"], 2);
  EXPECT_EQ(read_nifti_labels(out / "one.nii.gz").voxels.data<uint8_t>()[0], 3);
  EXPECT_EQ(count_files(out, "_probabilities.safetensors"), 2);
  const Json config = read_json(out / "predict_config.json");
  EXPECT_EQ(config["ensemble"].size(), 2u);
  EXPECT_TRUE(config.contains("hash"));
  // What it wrote can be a member in its turn.
  EXPECT_EQ(metvox_run({"ensemble", "-i", a, out, "-o", fresh_folder("again")}).code, 0);

  write_member(a, "three", .4f);
  const Outcome partial = metvox_run({"ensemble", "-i", a, b, "-o", out, "--overwrite"});
  EXPECT_EQ(partial.code, 5);
  EXPECT_TRUE(says(partial.err, "case three: " + b.string() + " has no prediction of it"));
}

TEST(ensemble, refuses_what_is_no_ensemble) {
  const Path a = fresh_folder("a"), b = fresh_folder("b"), out = fresh_folder("r") / "out";
  write_member(a, "one", .4f);
  EXPECT_EQ(metvox_run({"ensemble", "-i", a, "-o", out}).code, 2);
  EXPECT_EQ(metvox_run({"ensemble", "-i", a, a / ".", "-o", out}).code, 2);
  write_member(b, "one", .4f);
  EXPECT_EQ(metvox_run({"ensemble", "-i", a, b, "-o", b}).code, 2);
  fs::remove(b / "one_probabilities.safetensors");
  const Outcome o = metvox_run({"ensemble", "-i", a, b, "-o", out});
  EXPECT_EQ(o.code, 3);
  EXPECT_TRUE(says(o.err, "--save-probabilities"));
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace metvox
