// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tests/segmentation/dataset_folder.h"

namespace metvox {
namespace {

class check : public DatasetFolder {
 protected:
  void write_case(const std::string& id) const {
    write("imagesTr/" + id + "_0000.nii.gz");
    write("imagesTr/" + id + "_0001.nii.gz");
    write_label("labelsTr/" + id + ".nii.gz");
  }
  void write_zeros(const std::string& name) const {
    write_nifti(root / name, Tensor::zeros({2, 3, 4}, DType::f32), grid({4, 3, 2}));
  }
};

TEST_F(check, labels_that_are_not_numbers_are_a_fault) {
  write_brats("", "a");
  Tensor t = Tensor::zeros({2, 3, 4}, DType::f32);
  t.data<float>()[7] = std::nanf("");
  write_nifti(root / "a-seg.nii.gz", t, grid({4, 3, 2}));
  const CheckReport r = check_dataset(root);
  ASSERT_EQ(r.faults.size(), 1u);
  expect_mentions(r.faults[0], {"case a", "a-seg.nii.gz", "1 voxel holds no label"});
}

TEST_F(check, names_every_fault) {
  write_description(4);
  for (const char* id : {"a", "b", "c", "d", "e"}) {
    write(sentence("imagesTr/", id, "_0000.nii.gz"));
    write(sentence("imagesTr/", id, "_0001.nii.gz"), 1, grid({4, 3, 2}, id[0] == 'b' ? 2 : 1));
    write_label(sentence("labelsTr/", id, ".nii.gz"), id[0] == 'c' ? 9 : 1);
  }
  write("imagesTr/d_0000.nii.gz", std::nanf(""));
  write_text(root / "imagesTr/e_0001.nii.gz", "no image");
  write("imagesTr/f_0000.nii.gz");
  const CheckReport r = check_dataset(root);
  EXPECT_EQ(r.cases, 6);
  ASSERT_EQ(r.faults.size(), 6u);
  expect_mentions(r.faults[0], {"case f", "T2F", "missing"});
  expect_mentions(r.faults[1], {"numTraining is 4", "there are 5 complete cases"});
  expect_mentions(r.faults[2], {"case b", "grids"});
  expect_mentions(r.faults[3], {"case c", "9 (1 voxel)"});
  expect_mentions(r.faults[4], {"case d", "every voxel is 0 or not finite"});
  expect_mentions(r.faults[5], {"case e", "e_0001.nii.gz"});
}

TEST_F(check, compares_the_grids_of_what_can_be_read) {
  write_brats("", "a");
  write_zeros("a-t1c.nii.gz");
  write("a-t2w.nii.gz", 1, grid({4, 3, 3}));
  const CheckReport r = check_inputs({root});
  ASSERT_EQ(r.faults.size(), 2u);
  expect_mentions(r.faults[0], {"case a", "a-t1c.nii.gz: every voxel is 0"});
  expect_mentions(r.faults[1], {"case a", "grids", "a-t2w.nii.gz"});
}

TEST_F(check, a_link_that_leads_nowhere_is_a_file_that_cannot_be_read) {
  write_brats("", "a");
  std::filesystem::remove(root / "a-t2w.nii.gz");
  std::filesystem::create_symlink("nowhere", root / "a-t2w.nii.gz");
  const CheckReport r = check_inputs({root});
  ASSERT_EQ(r.faults.size(), 1u);
  expect_mentions(r.faults[0], {"case a", "a-t2w.nii.gz"});
}

TEST_F(check, warns_of_names_that_no_file_can_have) {
  write_description(1, R"({"0": "T1C", "1": "T2FLAIRR"})");
  write_case("a");
  const CheckReport r = check_dataset(root);
  EXPECT_TRUE(r.faults.empty()) << first(r.faults);
  ASSERT_EQ(r.warnings.size(), 1u);
  expect_mentions(r.warnings[0], {"channel 1 is called T2FLAIRR", "no sequence's name"});
  write_description(1, R"({"0": "T1C", "1": "T1CE"})");
  EXPECT_EQ(check_dataset(root).warnings.size(), 2u);
}

TEST_F(check, accepts_a_sound_set) {
  write_brats("", "a");
  write_label("a-seg.nii.gz", 3);
  const CheckReport r = check_dataset(root);
  EXPECT_EQ(r.cases, 1);
  EXPECT_TRUE(r.faults.empty()) << first(r.faults);
  EXPECT_TRUE(r.warnings.empty()) << first(r.warnings);
}

TEST_F(check, warns_of_empty_labels) {
  write_brats("", "a");
  write_label("a-seg.nii.gz", 0);
  const CheckReport r = check_dataset(root);
  EXPECT_TRUE(r.faults.empty()) << first(r.faults);
  ASSERT_EQ(r.warnings.size(), 4u);  // the label, and each of three regions
  expect_mentions(r.warnings[0], {"case a", "no voxel is labelled"});
}

TEST_F(check, looks_into_incomplete_cases_too) {
  write_description(1);
  write_case("a");
  write_case("b");
  std::filesystem::remove(root / "imagesTr/b_0001.nii.gz");
  write_text(root / "imagesTr/b_0000.nii.gz", "no image");
  write_label("labelsTr/b.nii.gz", 8);
  const CheckReport r = check_dataset(root);
  EXPECT_EQ(r.cases, 2);
  ASSERT_EQ(r.faults.size(), 3u) << first(r.faults);
  expect_mentions(r.faults[0], {"case b", "T2F", "missing"});
  expect_mentions(r.faults[1], {"case b", "b_0000.nii.gz", "is not a NIfTI file"});
  expect_mentions(r.faults[2], {"case b", "labelsTr/b.nii.gz", "8 (1 voxel)", "name them in dataset.json"});
}

TEST_F(check, goes_on_where_no_case_is_complete) {
  write_description(1);
  write_case("a");
  std::filesystem::remove(root / "labelsTr/a.nii.gz");
  write_zeros("imagesTr/a_0001.nii.gz");
  const CheckReport r = check_dataset(root);
  EXPECT_EQ(r.cases, 1);
  ASSERT_EQ(r.faults.size(), 3u) << first(r.faults);
  expect_mentions(r.faults[0], {"case a", "label is missing"});
  expect_mentions(r.faults[1], {"numTraining is 1, but there are 0 complete cases"});
  expect_mentions(r.faults[2], {"case a", "a_0001.nii.gz: every voxel is 0"});
}

TEST_F(check, faults_are_what_reading_refuses_and_warnings_what_it_warns_of) {
  write_description(2);
  write_case("a");
  write_case("b");
  write_zeros("imagesTr/a_0000.nii.gz");
  Tensor some = Tensor::zeros({2, 3, 4}, DType::f32);
  some.data<float>()[1] = 1;
  some.data<float>()[2] = INFINITY;
  write_nifti(root / "imagesTr/b_0000.nii.gz", some, grid({4, 3, 2}));
  const CheckReport r = check_dataset(root);
  ASSERT_EQ(r.faults.size(), 1u);
  expect_mentions(r.faults[0], {"case a", "a_0000.nii.gz: every voxel is 0"});
  ASSERT_EQ(r.warnings.size(), 1u);
  expect_mentions(r.warnings[0], {"case b", "b_0000.nii.gz: 1 of 24 voxels are not finite; taken as 0"});
}

TEST_F(check, finds_labels_of_any_ending) {
  // .nii split into .hdr and .img, which is what write_nifti does not write.
  const auto split = [&](const std::string& name) {
    Bytes bytes = read_bytes(root / (name + ".nii"));
    const float none = 0;
    std::memcpy(bytes.data() + 108, &none, 4);
    std::memcpy(bytes.data() + 344, "ni1", 4);
    write_bytes(root / (name + ".img"), {bytes.begin() + 352, bytes.end()});
    write_bytes(root / (name + ".hdr"), {bytes.begin(), bytes.begin() + 348});
    std::filesystem::remove(root / (name + ".nii"));
  };
  for (const char* name : {"a-t1c", "a-t1n", "a-t2f", "a-t2w"}) {
    write(sentence(name, ".nii"));
    split(name);
  }
  EXPECT_FALSE(is_dataset(root));
  write_label("a-seg.nii", 9);
  split("a-seg");
  EXPECT_TRUE(is_dataset(root));
  const CheckReport r = check_dataset(root);
  EXPECT_EQ(r.cases, 1);
  ASSERT_EQ(r.faults.size(), 1u) << first(r.faults);
  expect_mentions(r.faults[0], {"case a", "a-seg.hdr", "9 (1 voxel)"});
}

TEST_F(check, inputs_have_no_labels) {
  write_brats("", "a");
  write_brats("b/", "b");
  std::filesystem::remove(root / "a-seg.nii.gz");
  std::filesystem::remove(root / "b/b-seg.nii.gz");
  EXPECT_TRUE(check_inputs({root}).faults.empty());
  EXPECT_EQ(check_inputs({root}).cases, 2);
  write("a-t2wx.nii.gz");
  write("a-t1c.nii.gz", 1, grid({4, 3, 2}, 1e6));
  write_text(root / "b/b-t2w.nii.gz", "no image");
  std::filesystem::remove(root / "b/b-t1c.nii.gz");
  const CheckReport r = check_inputs({root});
  EXPECT_EQ(r.cases, 2);
  ASSERT_EQ(r.faults.size(), 3u) << first(r.faults);
  expect_mentions(r.faults[0], {"case b", "T1C", "missing"});
  expect_mentions(r.faults[1], {"case a", "a-t1c.nii.gz: a spacing of 1e+06x1e+06x1e+06 mm"});
  expect_mentions(r.faults[2], {"case b", "b-t2w.nii.gz", "is not a NIfTI file"});
  ASSERT_EQ(r.warnings.size(), 1u);
  expect_mentions(r.warnings[0], {"1 image has no sequence's name", "a-t2wx.nii.gz"});
}

TEST_F(check, takes_any_files) {
  write("b.nii.gz");
  write("d.nii.gz", 1, grid({1, 1, 1}));
  write_text(root / "c.nii", "no image");
  const CheckReport all = check_inputs({root});
  EXPECT_EQ(all.cases, 3);
  ASSERT_EQ(all.faults.size(), 2u);
  expect_mentions(all.faults[0], {"case c", "c.nii"});
  expect_mentions(all.faults[1], {"case d", "1x1x1 voxels are no image"});
  EXPECT_TRUE(check_inputs({root / "b.nii.gz"}).faults.empty());
  EXPECT_EQ(check_inputs({root / "none.nii.gz"}).faults.size(), 1u);
  std::filesystem::create_directories(root / "empty.nii.gz");
  expect_mentions(error_of([&] { check_inputs({root / "empty.nii.gz"}); }), {"empty.nii.gz: there is no image"});
}

TEST_F(check, files_of_a_case_lie_on_one_grid_and_its_label_too) {
  const Path t1c = write("a-t1c.nii.gz"), t2w = write("a-t2w.nii.gz"), seg = write_label("a-seg.nii.gz");
  const CheckReport good = check_inputs({t1c, t2w, seg});
  EXPECT_EQ(good.cases, 1);
  EXPECT_TRUE(good.faults.empty()) << first(good.faults);
  write_label("a-seg.nii.gz", 1, grid({4, 3, 3}));
  expect_mentions(first(check_inputs({t1c, t2w, seg}).faults), {"case a", "the label lies on another grid"});
  Geometry nowhere = grid({4, 3, 2}, 2);
  nowhere.qform_code = nowhere.sform_code = 0;
  write("a-t2w.nii.gz", 1, nowhere);
  const CheckReport apart = check_inputs({t1c, t2w});
  expect_mentions(first(apart.faults), {"case a", "grids", "a-t1c.nii.gz", "a-t2w.nii.gz"});
  ASSERT_EQ(apart.warnings.size(), 1u);
  expect_mentions(apart.warnings[0], {"case a", "a-t2w.nii.gz: qform_code and sform_code are 0"});
}

}  // namespace
}  // namespace metvox
