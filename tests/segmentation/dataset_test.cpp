// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/dataset.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>

#include "io/nifti.h"

namespace metvox {
namespace {

// A folder of its own for each test, gone afterwards.
class dataset : public testing::Test {
 protected:
  void SetUp() override {
    root = Path(testing::TempDir()) /
           sentence("metvox_dataset_", testing::UnitTest::GetInstance()->current_test_info()->name(), "_", ::getpid());
    std::filesystem::create_directories(root);
  }
  void TearDown() override { std::filesystem::remove_all(root); }

  static Geometry grid(const std::array<int64_t, 3>& shape, double spacing_mm = 1) {
    Affine a;
    for (size_t i = 0; i < 3; ++i) a.m[i][i] = spacing_mm;
    return make_geometry(shape, a);
  }
  Path write(const std::string& name, float value = 1, const Geometry& g = grid({4, 3, 2})) const {
    const Path path = root / name;
    std::filesystem::create_directories(path.parent_path());
    Tensor t = Tensor::empty({g.shape[2], g.shape[1], g.shape[0]}, DType::f32);
    for (int64_t i = 0; i < t.size(); ++i) t.data<float>()[i] = value + static_cast<float>(i);
    write_nifti(path, t, g);
    return path;
  }
  Path write_label(const std::string& name, uint8_t value = 1, const Geometry& g = grid({4, 3, 2})) const {
    const Path path = root / name;
    std::filesystem::create_directories(path.parent_path());
    Tensor t = Tensor::zeros({g.shape[2], g.shape[1], g.shape[0]}, DType::u8);
    t.data<uint8_t>()[5] = value;
    write_nifti(path, t, g);
    return path;
  }
  void write_brats(const std::string& folder, const std::string& id) const {
    for (const char* name : {"t1c", "t1n", "t2f", "t2w"}) write(folder + id + "-" + name + ".nii.gz");
    write_label(folder + id + "-seg.nii.gz");
  }
  void write_description(int num_training, const std::string& channels = R"({"0": "T1C", "1": "T2F"})") const {
    write_text(root / "dataset.json", R"({"channel_names": )" + channels + R"(, "labels": {"background": 0, "met": 1},
      "numTraining": )" + std::to_string(num_training) +
                                          R"(, "file_ending": ".nii.gz"})");
  }
  Path root;
};

std::string first(const std::vector<std::string>& faults) { return faults.empty() ? "" : faults.front(); }

void expect_mentions(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << '"' << part << "\" is not in: " << text;
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::input);
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

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

TEST_F(dataset, labels_that_are_not_numbers_are_a_fault) {
  write_brats("", "a");
  Tensor t = Tensor::zeros({2, 3, 4}, DType::f32);
  t.data<float>()[7] = std::nanf("");
  write_nifti(root / "a-seg.nii.gz", t, grid({4, 3, 2}));
  const CheckReport r = check_dataset(root);
  ASSERT_EQ(r.faults.size(), 1u);
  expect_mentions(r.faults[0], {"case a", "a-seg.nii.gz", "is nan"});
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
                  {"case x", "7 (1 voxels)"});
}

TEST_F(dataset, check_names_every_fault) {
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
  EXPECT_EQ(r.cases, 5);
  ASSERT_EQ(r.faults.size(), 6u);
  expect_mentions(r.faults[0], {"case f", "T2F", "missing"});
  expect_mentions(r.faults[1], {"numTraining is 4", "5 complete"});
  expect_mentions(r.faults[2], {"case b", "grids"});
  expect_mentions(r.faults[3], {"case c", "9 (1 voxels)"});
  expect_mentions(r.faults[4], {"case d", "24 of 24 voxels are not finite"});
  expect_mentions(r.faults[5], {"case e", "e_0001.nii.gz"});
}

TEST_F(dataset, check_accepts_a_sound_set) {
  write_brats("", "a");
  write_label("a-seg.nii.gz", 3);
  const CheckReport r = check_dataset(root);
  EXPECT_EQ(r.cases, 1);
  EXPECT_TRUE(r.faults.empty()) << first(r.faults);
  EXPECT_TRUE(r.warnings.empty()) << first(r.warnings);
}

TEST_F(dataset, check_warns_of_empty_labels) {
  write_brats("", "a");
  write_label("a-seg.nii.gz", 0);
  const CheckReport r = check_dataset(root);
  EXPECT_TRUE(r.faults.empty()) << first(r.faults);
  ASSERT_EQ(r.warnings.size(), 4u);  // the label, and each of three regions
  expect_mentions(r.warnings[0], {"case a", "no voxel is labelled"});
}

TEST_F(dataset, check_takes_any_files) {
  write("a-t1c.nii.gz");
  write("a-t2w.nii.gz", 1, grid({4, 3, 2}, 2));
  write("b.nii.gz");
  write_text(root / "c.nii", "no image");
  const CheckReport all = check_files({root});
  EXPECT_EQ(all.cases, 3);
  ASSERT_EQ(all.faults.size(), 2u);
  expect_mentions(all.faults[0], {"case a", "grids"});
  expect_mentions(all.faults[1], {"c.nii"});
  EXPECT_TRUE(check_files({root / "b.nii.gz"}).faults.empty());
  EXPECT_EQ(check_files({root / "none.nii.gz"}).faults.size(), 1u);
}

TEST(dataset_names, patients) {
  EXPECT_EQ(patient_of("BraTS-MET-00012-003"), "BraTS-MET-00012");
  EXPECT_EQ(patient_of("BRATS-GLI-00012-103"), "BRATS-GLI-00012");
  for (const char* id : {"SBT_733", "BraTS-MET-00012", "case-00012-003", "BraTS-MET-0012-003", "", "BraTS-00012"})
    EXPECT_EQ(patient_of(id), id);
}

}  // namespace
}  // namespace metvox
