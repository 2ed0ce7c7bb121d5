// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/dataset.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/segmentation/dataset_folder.h"

namespace metvox {
namespace {

class dataset : public DatasetFolder {};

TEST_F(dataset, inputs_flat_and_in_folders_by_index_and_by_name) {
  write("a_0000.nii.gz");
  write("a_0001.nii");
  write("b-T1ce.nii.gz");
  std::filesystem::rename(write("b.nii.gz"), root / "b_FLAIR.NII.GZ");
  write("folder/c-t1gd.nii.gz");
  write("folder/c-t2f.nii.gz");
  write("d/t1c.nii.gz");
  write("d/flair.nii.gz");
  write("d/brainmask.nii.gz");
  std::vector<std::string> faults;
  const auto cases = find_inputs(root, {"T1C", "FLAIR"}, &faults);
  ASSERT_EQ(cases.size(), 4u) << first(faults);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(cases[i].id, std::string(1, static_cast<char>('a' + i)));
  EXPECT_EQ(cases[1].images, (std::vector<Path>{root / "b-T1ce.nii.gz", root / "b_FLAIR.NII.GZ"}));
  EXPECT_EQ(cases[3].images, (std::vector<Path>{root / "d/t1c.nii.gz", root / "d/flair.nii.gz"}));
  EXPECT_TRUE(faults.empty()) << first(faults);
}

TEST_F(dataset, a_description_without_channels_names_the_key) {
  write_text(root / "dataset.json", R"({"labels": {"background": 0, "met": 1}, "numTraining": 1})");
  expect_mentions(error_of([&] { read_description(root / "dataset.json"); }),
                  {"dataset.json", "\"channel_names\" is missing"});
}

TEST_F(dataset, pairs_are_one_image) {
  write_text(root / "a_0000.hdr", "header");
  write_text(root / "a_0000.img", "voxels");
  const auto cases = find_inputs(root, {"CT"}, nullptr);
  ASSERT_EQ(cases.size(), 1u);
  EXPECT_EQ(cases[0].images[0].extension(), ".hdr");
}

TEST_F(dataset, a_missing_sequence_is_named) {
  write("x-t1c.nii.gz");
  write("y-t1c.nii.gz");
  write("y-t2w.nii.gz");
  std::vector<std::string> faults;
  const auto cases = find_inputs(root, {"T1C", "T2W"}, &faults);
  ASSERT_EQ(cases.size(), 1u);
  EXPECT_EQ(cases[0].id, "y");
  ASSERT_EQ(faults.size(), 1u);
  expect_mentions(faults[0], {"case x", "T2W", "channel 1", "x_0001", "x-t2w", "x-t2", ".nii.gz"});
}

TEST_F(dataset, two_files_for_one_sequence_are_refused) {
  write("x-t1c.nii.gz");
  write("x-t1ce.nii.gz");
  expect_mentions(error_of([&] { find_inputs(root, {"T1C"}, nullptr); }),
                  {"case x", "x-t1c.nii.gz", "x-t1ce.nii.gz", "keep one"});
}

TEST_F(dataset, a_channel_too_many_is_refused) {
  write("x_0000.nii.gz");
  write("x_0001.nii.gz");
  expect_mentions(error_of([&] { find_inputs(root, {"T1C"}, nullptr); }), {"case x", "x_0001.nii.gz", "beyond"});
}

TEST_F(dataset, no_case_says_what_was_looked_for) {
  expect_mentions(error_of([&] { find_inputs(root, {"T1C"}, nullptr); }), {root.string(), "CASE_0000", "CASE-t1gd"});
  expect_mentions(error_of([&] { find_inputs(root / "none", {"T1C"}, nullptr); }), {"no such folder"});
  write_text(root / "file", "");
  expect_mentions(error_of([&] { find_inputs(root / "file", {"T1C"}, nullptr); }),
                  {"is a file, but a folder is expected"});
  expect_mentions(error_of([&] { open_raw_dataset(root / "file", nullptr); }), {"is a file, but a folder is expected"});
}

TEST_F(dataset, brats_folders) {
  write_brats("BraTS-MET-00002-000/", "BraTS-MET-00002-000");
  write_brats("BraTS-MET-00001-001/", "BraTS-MET-00001-001");
  std::vector<std::string> faults;
  const RawDataset d = open_raw_dataset(root, &faults);
  ASSERT_EQ(d.training.size(), 2u) << first(faults);
  EXPECT_EQ(d.training[0].id, "BraTS-MET-00001-001");
  EXPECT_EQ(d.training[0].label.filename(), "BraTS-MET-00001-001-seg.nii.gz");
  EXPECT_EQ(d.training[0].images[3].filename(), "BraTS-MET-00001-001-t2w.nii.gz");
  EXPECT_EQ(d.description.channel_names, (std::vector<std::string>{"T1C", "T1N", "T2F", "T2W"}));
  EXPECT_EQ(d.description.num_training, 2);
  EXPECT_EQ(d.description.name, root.filename().string());
  EXPECT_EQ(d.description.labels.regions_class_order, (std::vector<int>{2, 1, 3}));
  EXPECT_TRUE(faults.empty()) << first(faults);
  EXPECT_EQ(find_labels(root).size(), 2u);
}

TEST_F(dataset, nnunet_folders) {
  write_description(2);
  for (const char* id : {"BRATS_0001", "case-2"}) {  // ids that look like channels and sequences
    write(sentence("imagesTr/", id, "_0000.nii.gz"));
    write(sentence("imagesTr/", id, "_0001.nii.gz"));
    write_label(sentence("labelsTr/", id, ".nii.gz"));
  }
  write("imagesTr/lone_0000.nii.gz");
  write("imagesTr/lone_0001.nii.gz");
  write_label("labelsTr/other.nii.gz");
  std::vector<std::string> faults;
  const RawDataset d = open_raw_dataset(root, &faults);
  ASSERT_EQ(d.training.size(), 2u);
  EXPECT_EQ(d.training[0].id, "BRATS_0001");
  EXPECT_EQ(d.training[0].label, root / "labelsTr/BRATS_0001.nii.gz");
  ASSERT_EQ(faults.size(), 2u);
  expect_mentions(faults[0], {"case lone", "label is missing"});
  expect_mentions(faults[1], {"case other", "no image"});
}

TEST_F(dataset, dataset_json_may_list_its_files) {
  write("a.nii.gz");
  write_label("b.nii.gz");
  write_text(root / "dataset.json",
             R"({"channel_names": {"0": "T1"}, "labels": {"background": 0, "met": 1}, "numTraining": 2,
    "file_ending": ".nii.gz", "dataset": {"one": {"images": ["a.nii.gz"], "label": "b.nii.gz"},
    "two": {"images": ["z.nii.gz"], "label": "b.nii.gz"}}})");
  std::vector<std::string> faults;
  const RawDataset d = open_raw_dataset(root, &faults);
  ASSERT_EQ(d.training.size(), 1u);
  EXPECT_EQ(d.training[0].images[0], root / "a.nii.gz");
  expect_mentions(first(faults), {"case two", "z.nii.gz"});
}

TEST_F(dataset, sequences_are_turned_to_the_first) {
  const Path a = write("x_0000.nii.gz");
  // The same lattice, stored with x and y exchanged.
  Affine turned;
  turned.m = {{{0, 1, 0, 0}, {1, 0, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}};
  const Geometry g = make_geometry({3, 4, 2}, turned);
  Tensor t = Tensor::empty({2, 4, 3}, DType::f32);
  for (int64_t z = 0; z < 2; ++z)
    for (int64_t x = 0; x < 4; ++x)
      for (int64_t y = 0; y < 3; ++y)
        t.data<float>()[(z * 4 + x) * 3 + y] = static_cast<float>(1 + (z * 3 + y) * 4 + x);
  write_nifti(root / "x_0001.nii.gz", t, g);
  const CaseImages images = read_case({"x", {a, root / "x_0001.nii.gz"}, {}});
  ASSERT_EQ(images.data.shape(), (Shape{2, 2, 3, 4}));
  for (int64_t i = 0; i < 24; ++i) EXPECT_EQ(images.data.data<float>()[24 + i], images.data.data<float>()[i]) << i;
  ASSERT_EQ(images.warnings.size(), 1u);
  expect_mentions(images.warnings[0], {"x_0001.nii.gz", "turned"});
}

TEST_F(dataset, other_grids_are_refused_by_name) {
  const Path a = write("x_0000.nii.gz"), b = write("x_0001.nii.gz", 1, grid({4, 3, 2}, 1.5)),
             c = write("x_0002.nii.gz");
  expect_mentions(error_of([&] {
                    read_case({"x", {a, b, c}, {}});
                  }),
                  {"case x", "x_0000.nii.gz", "x_0001.nii.gz", "x_0002.nii.gz", "1.5"});
  const Path label = write_label("x-seg.nii.gz", 1, grid({4, 3, 3}));
  expect_mentions(error_of([&] {
                    read_case_labels({"x", {a}, label}, grid({4, 3, 2}), brats_description("d").labels);
                  }),
                  {"case x", "x-seg.nii.gz", "grid"});
}

TEST_F(dataset, labels_that_nobody_named_are_listed) {
  const Path label = write_label("x-seg.nii.gz", 7);
  expect_mentions(error_of([&] {
                    read_case_labels({"x", {}, label}, grid({4, 3, 2}), brats_description("d").labels);
                  }),
                  {"case x", "7 (1 voxel)"});
}

TEST_F(dataset, every_way_to_a_case_refuses_the_same) {
  const Path image = write("x_0000.nii.gz");
  const auto refusal = [&](const Path& other) { return error_of([&] { read_case({"x", {image, other}, {}}); }); };
  Tensor zeros = Tensor::zeros({2, 3, 4}, DType::f32);
  write_nifti(root / "zero.nii", zeros, grid({4, 3, 2}));
  expect_mentions(refusal(root / "zero.nii"), {"case x: ", "zero.nii: every voxel is 0, there is no image in it"});
  zeros.data<float>()[3] = std::nanf("");
  write_nifti(root / "nan.nii", zeros, grid({4, 3, 2}));
  expect_mentions(refusal(root / "nan.nii"), {"case x: ", "nan.nii: every voxel is 0 or not finite"});
  for (const double mm : {1e6, 1e-6, 101.0, 0.009})
    expect_mentions(refusal(write("mm.nii", 1, grid({4, 3, 2}, mm))),
                    {"case x: ", "mm.nii: a spacing of ", "is not that of an MRI scan", "mend pixdim"});
  expect_mentions(refusal(write("wide.nii", 1, grid({40, 40, 40}, 50))), {"wide.nii", "field of view"});
  expect_mentions(refusal(write("point.nii", 1, grid({1, 1, 1}))), {"point.nii: 1x1x1 voxels are no image"});
  expect_mentions(refusal(write("line.nii", 1, grid({1, 9, 1}))), {"line.nii: 1x9x1 voxels are no image"});
  EXPECT_NO_THROW(read_sequence(write("slice.nii", 1, grid({4, 3, 1}))));
  EXPECT_THROW(read_sequence_header(root / "mm.nii"), Error);
  EXPECT_NO_THROW(read_sequence_header(root / "zero.nii"));

  std::fill_n(zeros.data<float>(), zeros.size(), 7.0f);
  write_nifti(root / "seven.nii", zeros, grid({4, 3, 2}));
  const CaseImages images = read_case({"x", {image, root / "seven.nii"}, {}});
  ASSERT_EQ(images.warnings.size(), 1u);
  expect_mentions(images.warnings[0], {"seven.nii: every voxel is 7"});
}

TEST_F(dataset, a_folder_with_the_name_of_an_image_is_named) {
  std::filesystem::create_directories(root / "x_0000.nii.gz");
  std::filesystem::create_directories(root / "y/y-t1c.nii");
  const auto cases = find_inputs(root, {"T1C"}, nullptr);
  ASSERT_EQ(cases.size(), 2u);
  for (const CaseFiles& files : cases)
    expect_mentions(error_of([&] { read_case(files); }), {"case " + files.id, "it is a folder, not a file"});
  // Some archives unpack to x.nii/x.nii.
  write("z_0000.nii.gz/z_0000.nii.gz");
  EXPECT_EQ(find_inputs(root, {"T1C"}, nullptr)[2].images[0], root / "z_0000.nii.gz/z_0000.nii.gz");
}

TEST_F(dataset, cases_left_out_keep_their_files) {
  write_brats("", "a");
  write_brats("", "b");
  std::filesystem::remove(root / "b-t2w.nii.gz");
  const RawDataset d = open_raw_dataset(root, nullptr);
  ASSERT_EQ(d.incomplete.size(), 1u);
  EXPECT_EQ(d.incomplete[0].id, "b");
  EXPECT_EQ(d.incomplete[0].images.size(), 3u);
  EXPECT_EQ(d.incomplete[0].label, root / "b-seg.nii.gz");
}

TEST(dataset_names, patients) {
  EXPECT_EQ(patient_of("BraTS-MET-00012-003"), "BraTS-MET-00012");
  EXPECT_EQ(patient_of("BRATS-GLI-00012-103"), "BRATS-GLI-00012");
  for (const char* id : {"SBT_733", "BraTS-MET-00012", "case-00012-003", "BraTS-MET-0012-003", "", "BraTS-00012"})
    EXPECT_EQ(patient_of(id), id);
}

}  // namespace
}  // namespace metvox
