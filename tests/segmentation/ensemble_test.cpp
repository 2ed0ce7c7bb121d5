// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/ensemble.h"

#include <gtest/gtest.h>

#include <fstream>

#include "fake_model.h"
#include "io/nifti.h"
#include "io/safetensors.h"
#include "tests/support/mixed.h"

namespace metvox {

namespace {

const Json& golden() {
  static const Json json = read_json(Path(METVOX_SOURCE_DIR) / "tests/golden/crossval.json");
  return json;
}

Geometry grid_of(const Shape& shape, double offset_mm = 0) {
  return make_geometry({shape[2], shape[1], shape[0]},
                       Affine{{{{1, 0, 0, offset_mm}, {0, 1.5, 0, 0}, {0, 0, 2, 0}, {0, 0, 0, 1}}}});
}

Json dataset_json(const Json& labels) {
  Json json = brats_description("x").json;
  json["labels"] = labels.at("labels");
  json.erase("regions_class_order");
  if (labels.contains("regions_class_order")) json["regions_class_order"] = labels.at("regions_class_order");
  return json;
}

// A member's prediction of a case: the probabilities, and labels whose grid alone counts.
void write_member(const Path& dir, const std::string& id, const Tensor& probabilities, const Json& dataset,
                  double offset_mm = 0) {
  write_json(dir / "dataset.json", dataset);
  const Shape& s = probabilities.shape();
  const Shape shape{s[1], s[2], s[3]};
  write_segmentation(dir, id, Tensor::zeros(shape, DType::u8), grid_of(shape, offset_mm), brats_description("x").labels,
                     "");
  write_probabilities(dir, id, probabilities, description_from_json(dataset, dir).labels);
}

// Member m of the golden ensembles.
Tensor golden_member(int m, int64_t heads, const Int3& shape) {
  const Tensor p = Tensor::empty({heads, shape[0], shape[1], shape[2]}, DType::f32);
  for (int64_t i = 0; i < p.size(); ++i)
    p.data<float>()[i] = static_cast<float>((test::mixed(i, "member" + std::to_string(m)) + 1) / 2);
  return p;
}

Tensor constant(float value, int64_t heads = 3) {
  const Tensor p = Tensor::empty({heads, 2, 3, 4}, DType::f32);
  std::fill_n(p.data<float>(), p.size(), value);
  return p;
}

}  // namespace

TEST(ensemble, decides_as_nnunet_does) {
  const auto shape = golden().at("shape").get<Int3>();
  for (const Json& expected : golden().at("ensembles")) {
    const Json dataset = dataset_json(expected);
    const Labels labels = description_from_json(dataset, "golden").labels;
    std::vector<Path> members;
    for (int m = 0; m < expected.at("members"); ++m) {
      members.push_back(fresh_dir("member" + std::to_string(m)));
      write_member(members.back(), "a", golden_member(m, static_cast<int64_t>(labels.heads().size()), shape), dataset);
    }
    const Path out = fresh_dir("out");
    const Predictions done = ensemble_folders(members, out, {false, true}, silent);
    EXPECT_EQ(done.written, 1);
    EXPECT_TRUE(done.faults.empty());
    const Volume found = read_nifti_labels(prediction_files(out, "a").labels);
    EXPECT_TRUE(same_grid(found.geometry, grid_of(found.voxels.shape())));
    std::string digits;
    for (int64_t i = 0; i < found.voxels.size(); ++i)
      digits += static_cast<char>('0' + found.voxels.data<uint8_t>()[i]);
    EXPECT_EQ(digits, expected.at("segmentation"));
    const Tensor mean = read_safetensors(prediction_files(out, "a").probabilities).tensors.at("probabilities");
    double sum = 0;
    for (int64_t i = 0; i < mean.size(); ++i) sum += static_cast<double>(mean.data<float>()[i]);
    EXPECT_NEAR(sum, expected.at("mean_sum").get<double>(), 1e-12 * static_cast<double>(mean.size()));
  }
}

// .5 is not above .5; of equal labels the first wins.
TEST(ensemble, ties_are_background) {
  const Json regions = brats_description("x").json;
  const Path a = fresh_dir("a"), b = fresh_dir("b"), out = fresh_dir("out");
  write_member(a, "c", constant(.25f), regions);
  write_member(b, "c", constant(.75f), regions);
  ensemble_folders({a, b}, out, {}, silent);
  const Volume found = read_nifti_labels(out / "c.nii.gz");
  EXPECT_EQ(*std::max_element(found.voxels.data<uint8_t>(), found.voxels.data<uint8_t>() + 24), 0);
  EXPECT_FALSE(std::filesystem::exists(prediction_files(out, "c").probabilities));
}

TEST(ensemble, a_case_that_cannot_be_averaged_does_not_stop_the_others) {
  const Json dataset = brats_description("x").json;
  const Path a = fresh_dir("a"), b = fresh_dir("b"), out = fresh_dir("out");
  for (const char* id : {"good", "moved", "labels_only", "torn", "nan", "other_heads"})
    for (const Path& dir : {a, b}) write_member(dir, id, constant(.75f), dataset);
  write_member(a, "only_a", constant(.75f), dataset);
  write_member(b, "moved", constant(.75f), dataset, 1);
  std::filesystem::remove(prediction_files(b, "labels_only").probabilities);
  std::ofstream(prediction_files(b, "torn").probabilities) << "no tensors";
  write_member(b, "nan", constant(std::nanf("")), dataset);
  write_safetensors(prediction_files(b, "other_heads").probabilities, {{"probabilities", constant(.75f).view()}},
                    {{"heads", R"(["a","b","c"])"}});
  const Predictions done = ensemble_folders({a, b}, out, {}, silent);
  EXPECT_EQ(done.written, 1);
  ASSERT_EQ(done.faults.size(), 6u);
  const auto told = [&](const std::string& id, const std::string& text) {
    return std::any_of(done.faults.begin(), done.faults.end(), [&](const std::string& fault) {
      return fault.find(id) != std::string::npos && fault.find(text) != std::string::npos;
    });
  };
  EXPECT_TRUE(told("only_a", b.string() + " has no prediction of it"));
  EXPECT_TRUE(told("moved", "lie on different grids"));
  EXPECT_TRUE(told("labels_only", "again with --save-probabilities"));
  EXPECT_TRUE(told("torn", "torn_probabilities.safetensors"));
  EXPECT_TRUE(told("nan", "no probability"));
  EXPECT_TRUE(told("other_heads", R"(["a","b","c"], dataset.json has ["WT","TC","ET"])"));
  EXPECT_EQ(read_nifti_labels(out / "good.nii.gz").voxels.data<uint8_t>()[0], 3);

  const Predictions again = ensemble_folders({a, b}, out, {}, silent);
  EXPECT_EQ(again.kept, 1);
  EXPECT_EQ(again.written, 0);
}

TEST(ensemble, refuses_folders_that_do_not_fit) {
  const Path a = fresh_dir("a"), b = fresh_dir("b"), out = fresh_dir("r") / "out";
  const auto refusal = [&]() -> std::string {
    try {
      ensemble_folders({a, b}, out, {}, silent);
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::input);
      return e.what();
    }
    return "";
  };
  const Json dataset = brats_description("x").json;
  write_member(a, "c", constant(.75f), dataset);
  EXPECT_NE(refusal().find("holds no dataset.json"), std::string::npos);
  write_json(b / "dataset.json", dataset);
  EXPECT_NE(refusal().find("holds no CASE_probabilities.safetensors"), std::string::npos);
  Json other = dataset;
  other["regions_class_order"] = {1, 2, 3};
  write_member(b, "c", constant(.75f), other);
  EXPECT_NE(refusal().find("different labels"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(out));
}

}  // namespace metvox
