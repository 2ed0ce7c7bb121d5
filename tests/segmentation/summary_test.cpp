// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/summary.h"

#include "digit_volumes.h"
#include "fake_model.h"
#include "segmentation/evaluation/scores.h"

namespace metvox {
namespace {

// Every number of `expected` is in `found`, and nothing else.
void expect_numbers(const Json& found, const Json& expected, const std::string& where) {
  ASSERT_EQ(found.size(), expected.size()) << where;
  for (const auto& [key, value] : expected.items()) {
    ASSERT_TRUE(found.contains(key)) << where << ' ' << key;
    if (value.is_object()) expect_numbers(found.at(key), value, where + " " + key);
    else expect_number(found.at(key).is_null() ? NAN : found.at(key).get<double>(), value, where + " " + key);
  }
}

}  // namespace

TEST(summary, is_the_file_of_nnunet) {
  const Json golden = read_json(Path(METVOX_SOURCE_DIR) / "tests/golden/summary.json");
  const Int3 n = golden.at("shape").get<Int3>();
  const Shape shape{n[0], n[1], n[2]};
  int undefined = 0;
  for (const Json& folder : golden.at("folders")) {
    const Path pred = fresh_dir("pred"), truth = fresh_dir("truth");
    for (size_t c = 0; c < folder.at("cases").size(); ++c) {
      const std::string name = "case" + std::to_string(c) + ".nii.gz";
      write_labels(pred / name, folder.at("cases")[c].at("prediction"), shape);
      write_labels(truth / name, folder.at("cases")[c].at("truth"), shape);
    }
    EXPECT_TRUE(evaluate_folder(pred, truth, Labels::from_json(folder, "golden")).empty());
    const Json found = read_json(pred / "summary.json"), &expected = folder.at("summary");
    EXPECT_EQ(found.size(), expected.size());
    expect_numbers(found.at("mean"), expected.at("mean"), "mean");
    expect_numbers(found.at("foreground_mean"), expected.at("foreground_mean"), "foreground_mean");
    const Json& cases = expected.at("metric_per_case");
    ASSERT_EQ(found.at("metric_per_case").size(), cases.size());
    for (size_t c = 0; c < cases.size(); ++c) {
      const Json& one = found.at("metric_per_case")[c];
      EXPECT_EQ(one.at("prediction_file"), (pred / cases[c].at("prediction_file").get<std::string>()).string());
      EXPECT_EQ(one.at("reference_file"), (truth / cases[c].at("reference_file").get<std::string>()).string());
      expect_numbers(one.at("metrics"), cases[c].at("metrics"), "case " + std::to_string(c));
      for (const Json& metrics : cases[c].at("metrics")) undefined += metrics.at("Dice").is_null();
    }
  }
  EXPECT_GT(undefined, 0);
}

}  // namespace metvox
