// SPDX-License-Identifier: Apache-2.0
// postprocess as a process, on rows of voxels.
#include <gtest/gtest.h>

#include "io/json.h"
#include "io/nifti.h"
#include "segmentation/data/dataset.h"
#include "tests/tools/subprocess.h"

namespace metvox {
namespace {

// Labels of one row of voxels.
void write_row(const Path& path, const std::string& digits) {
  const Tensor t = Tensor::empty({1, 1, static_cast<int64_t>(digits.size())}, DType::u8);
  for (size_t i = 0; i < digits.size(); ++i) t.data<uint8_t>()[i] = static_cast<uint8_t>(digits[i] - '0');
  write_nifti(path, t, make_geometry({t.size(), 1, 1}, Affine{}));
}

std::string row_of(const Path& path) {
  const Tensor t = read_nifti_labels(path).voxels;
  std::string digits;
  for (int64_t i = 0; i < t.size(); ++i) digits += static_cast<char>('0' + t.data<uint8_t>()[i]);
  return digits;
}

}  // namespace

TEST(postprocess, determines_applies_and_warns) {
  const Path pred = fresh_folder("pred"), truth = fresh_folder("truth"), out = fresh_folder("out");
  write_json(pred / "dataset.json", brats_description("x").json);
  for (const char* name : {"a.nii.gz", "b.nii.gz"}) {
    write_row(pred / name, "0033300020");
    write_row(truth / name, "0033300000");
  }
  const Outcome o = metvox_run({"postprocess", "-i", pred, "--truth", truth});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(says(o.err, "deletes every other metastasis"));
  EXPECT_TRUE(says(o.err, "keep only the largest component of labels 1, 2, 3: adopted"));
  const Path file = pred / "postprocessing.json";
  EXPECT_EQ(read_json(file)["postprocessing_kwargs"], Json::parse(R"([{"labels_or_regions": [1, 2, 3]}])"));

  const Outcome applied = metvox_run({"postprocess", "-i", pred, "-o", out, "--postprocessing", file});
  EXPECT_EQ(applied.code, 0) << applied.err;
  EXPECT_TRUE(says(applied.err, "deletes every other metastasis"));
  EXPECT_TRUE(says(applied.err, "a: 1 component of 1 voxel removed"));
  EXPECT_EQ(row_of(out / "a.nii.gz"), "0033300000");
  EXPECT_EQ(row_of(pred / "a.nii.gz"), "0033300020");

  const Path small = fresh_folder("small");
  write_row(pred / "c.nii.gz", "1110220300");
  const Outcome by_volume = metvox_run({"postprocess", "-i", pred, "-o", small, "--min-volume", "2"});
  EXPECT_EQ(by_volume.code, 0) << by_volume.err;
  EXPECT_FALSE(says(by_volume.err, "deletes every other metastasis"));
  EXPECT_EQ(row_of(small / "c.nii.gz"), "1110220000");
}

TEST(postprocess, refuses_what_it_cannot_do) {
  const Path pred = fresh_folder("pred"), out = fresh_folder("out");
  write_row(pred / "a.nii.gz", "0033300020");
  EXPECT_EQ(metvox_run({"postprocess", "-i", pred}).code, 2);
  EXPECT_EQ(metvox_run({"postprocess", "-i", pred, "-o", out}).code, 2);
  EXPECT_EQ(metvox_run({"postprocess", "-i", pred, "-o", pred, "--min-volume", "2"}).code, 2);
  EXPECT_EQ(metvox_run({"postprocess", "-i", pred, "-o", out, "--min-volume", "0"}).code, 2);
  EXPECT_EQ(metvox_run({"postprocess", "-i", pred, "-o", out, "--postprocessing", pred / "none.json"}).code, 3);
  EXPECT_EQ(metvox_run({"postprocess", "-i", pred, "--truth", out}).code, 3);
}

}  // namespace metvox
