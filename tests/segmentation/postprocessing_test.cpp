// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/postprocessing.h"

#include <gtest/gtest.h>

#include "digit_volumes.h"
#include "fake_model.h"
#include "segmentation/inference/postprocess_folder.h"

namespace metvox {

namespace {

const Json& golden() {
  static const Json json = read_json(Path(METVOX_SOURCE_DIR) / "tests/golden/crossval.json");
  return json;
}

std::string digits_of(const Tensor& t) {
  std::string digits;
  for (int64_t i = 0; i < t.size(); ++i) digits += static_cast<char>('0' + t.data<uint8_t>()[i]);
  return digits;
}

void expect_summary(const Json& found, const Json& expected) {
  for (const auto& [name, value] : expected.at("foreground_mean").items())
    expect_number(found.at("foreground_mean").at(name).get<double>(), value, name);
  ASSERT_EQ(found.at("mean").size(), expected.at("mean").size());
  for (const auto& [target, numbers] : expected.at("mean").items())
    for (const auto& [name, value] : numbers.items())
      expect_number(found.at("mean").at(target).at(name).get<double>(), value, target + " " + name);
}

const PostprocessingRule kLargest{{1, 2, 3}};

Removed removed_from(std::string& digits, const Shape& shape, const std::vector<PostprocessingRule>& rules) {
  const Tensor t = from_digits(digits, shape);
  const Removed removed = postprocess(t, grid_of(shape), rules);
  digits = digits_of(t);
  return removed;
}

}  // namespace

TEST(postprocessing, decides_and_measures_as_nnunet_does) {
  const Int3 n = golden().at("shape").get<Int3>();
  const Shape shape{n[0], n[1], n[2]};
  size_t with_rules = 0;
  for (size_t run = 0; run < golden().at("postprocessing").size(); ++run) {
    SCOPED_TRACE(run);
    const Json& expected = golden().at("postprocessing")[run];
    const Path pred = fresh_dir("pred"), truth = fresh_dir("truth");
    for (size_t c = 0; c < expected.at("cases").size(); ++c) {
      const std::string name = "case" + std::to_string(c) + ".nii.gz";
      write_labels(pred / name, expected.at("cases")[c].at("prediction"), shape);
      write_labels(truth / name, expected.at("cases")[c].at("truth"), shape);
    }
    const Labels labels = Labels::from_json(expected, "golden");
    const Determined found = determine_postprocessing(pred, truth, labels, [](int64_t, int64_t) {});
    EXPECT_EQ(to_json(found.rules).at("postprocessing_kwargs").size(), expected.at("kwargs").size());
    // nnU-Net lists all labels even where there is one.
    for (size_t i = 0; i < found.rules.size(); ++i) {
      const Json& theirs = expected.at("kwargs")[i].at("labels_or_regions");
      EXPECT_EQ(Json(found.rules[i].labels), theirs.is_array() ? theirs : Json::array({theirs}));
    }
    expect_summary(found.before, expected.at("before"));
    expect_summary(found.after, expected.at("after"));
    with_rules += !found.rules.empty();

    // What is applied is what was measured, through the file.
    write_json(pred / "postprocessing.json", to_json(found));
    const auto rules = postprocessing_from_json(read_json(pred / "postprocessing.json"), "file");
    for (const Json& c : expected.at("cases")) {
      std::string digits = c.at("prediction");
      removed_from(digits, shape, rules);
      EXPECT_EQ(digits, c.at("after"));
    }
  }
  EXPECT_EQ(with_rules, 10u);
}

TEST(postprocessing, keeps_the_largest_and_all_of_its_size) {
  std::string digits =
      "1101002"
      "0000000"
      "0300011";
  const Removed removed = removed_from(digits, {1, 3, 7}, {kLargest});
  EXPECT_EQ(digits,
            "1100000"
            "0000000"
            "0000011");
  EXPECT_EQ(removed.components, 3);
  EXPECT_EQ(removed.voxels, 3);
  std::string empty = "000000";
  EXPECT_EQ(removed_from(empty, {1, 2, 3}, {kLargest}).components, 0);
}

// Voxels that touch by a corner are one; a region's rule leaves what is outside the region.
TEST(postprocessing, a_rule_sees_its_own_labels_alone) {
  std::string digits =
      "1000"
      "0120"
      "0002"
      "3000";
  removed_from(digits, {1, 4, 4}, {{{1, 3}}});
  EXPECT_EQ(digits,
            "1000"
            "0120"
            "0002"
            "0000");
  removed_from(digits, {1, 4, 4}, {{{2}}});
  EXPECT_EQ(digits,
            "1000"
            "0120"
            "0002"
            "0000");
}

TEST(postprocessing, small_components_go_by_their_volume) {
  std::string digits =
      "1101002"
      "0000000"
      "0333011";  // 2, 1, 1, 3 and 2 voxels of 3 mm3
  EXPECT_EQ(removed_from(digits, {1, 3, 7}, {{{1, 2, 3}, 6}}).components, 2);
  EXPECT_EQ(digits,
            "1100000"
            "0000000"
            "0333011");
  EXPECT_EQ(removed_from(digits, {1, 3, 7}, {{{1, 2, 3}, 6.01}}).components, 2);
  EXPECT_EQ(digits,
            "0000000"
            "0000000"
            "0333000");
}

TEST(postprocessing, files_with_other_rules_are_refused) {
  const auto refused = [](const char* text) {
    try {
      postprocessing_from_json(Json::parse(text), "p.json");
      return false;
    } catch (const Error& e) {
      return e.fault() == Fault::input && std::string(e.what()).find("p.json") != std::string::npos;
    }
  };
  for (
      const char* text :
      {"{}", R"({"postprocessing_fns": ["x"], "postprocessing_kwargs": [{"labels_or_regions": 1}]})",
       R"({"postprocessing_fns": [], "postprocessing_kwargs": [{}]})",
       R"({"postprocessing_fns": ["remove_components_below_volume"], "postprocessing_kwargs": [{"labels_or_regions": 1}]})",
       R"({"postprocessing_fns": ["remove_components_below_volume"],
            "postprocessing_kwargs": [{"labels_or_regions": 1, "volume_mm3": -1}]})",
       R"({"postprocessing_fns": ["remove_all_but_largest_component_from_segmentation"],
            "postprocessing_kwargs": [{"labels_or_regions": [0, 1]}]})",
       R"({"postprocessing_fns": ["remove_all_but_largest_component_from_segmentation"],
            "postprocessing_kwargs": [{"labels_or_regions": []}]})"})
    EXPECT_TRUE(refused(text)) << text;
  const auto rules = postprocessing_from_json(to_json(std::vector<PostprocessingRule>{{{2}, 4.5}, {{1, 2}}}), "p.json");
  ASSERT_EQ(rules.size(), 2u);
  EXPECT_EQ(rules[0].least_volume_mm3, 4.5);
  EXPECT_EQ(rules[1].labels, (std::vector<int>{1, 2}));
}

TEST(postprocessing, a_rule_for_all_rests_on_all) {
  const Path pred = fresh_dir("pred"), truth = fresh_dir("truth");
  const Labels labels = brats_description("x").labels;
  const auto determine = [&] { return determine_postprocessing(pred, truth, labels, [](int64_t, int64_t) {}); };
  EXPECT_THROW(determine(), Error);
  for (const Path& dir : {pred, truth}) write_labels(dir / "a.nii.gz", "010020000330", {2, 2, 3});
  write_labels(truth / "b.nii.gz", "010020000330", {2, 2, 3});
  EXPECT_EQ(determine().unused.size(), 1u);
  EXPECT_TRUE(determine().rules.empty());
  write_labels(pred / "c.nii.gz", "010020000330", {2, 2, 3});
  EXPECT_THROW(determine(), Error);
}

TEST(postprocessing, a_folder_keeps_its_grids) {
  const Path from = fresh_dir("from"), to = fresh_dir("to");
  const Shape shape{1, 3, 7};
  write_labels(from / "a.nii.gz", "110100200000000300011", shape);
  write_labels(from / "b.nii.gz", "000000000000000300000", shape);
  write_json(from / "dataset.json", brats_description("x").json);
  std::vector<std::string> seen, begun;
  const auto run = [&](const PredictOptions& options) {
    return postprocess_folder(
        from, to, brats_description("x").labels, {kLargest}, options,
        [&](int64_t done, int64_t total, const std::string& id) {
          begun.push_back(sentence(done, '/', total, ' ', id));
        },
        [&](const std::string& id, const Removed& r) { seen.push_back(sentence(id, " ", r.components)); });
  };
  EXPECT_EQ(run({}).written, 2);
  EXPECT_EQ(seen, (std::vector<std::string>{"a 3", "b 0"}));
  EXPECT_EQ(begun, (std::vector<std::string>{"0/2 a", "1/2 b", "2/2 "}));
  const Volume a = read_nifti_labels(to / "a.nii.gz");
  EXPECT_EQ(digits_of(a.voxels), "110000000000000000011");
  EXPECT_TRUE(same_grid(a.geometry, grid_of(shape)));
  EXPECT_TRUE(std::filesystem::exists(to / "dataset.json"));
  EXPECT_EQ(run({}).kept, 2);
  EXPECT_EQ(run({true}).written, 2);
}

}  // namespace metvox
