// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/calibration.h"

#include <cmath>

#include "lesion_cases.h"
#include "segmentation/evaluation/overview.h"

namespace metvox {

namespace {

// A line of 60 voxels of 2 mm: with the margin, five voxels to either side of a piece count.
const Int3 kLine{1, 1, 60};
const Double3 kSpacing_mm{5, 5, 2};

Tensor line(const std::vector<std::pair<int64_t, float>>& probabilities) {
  Tensor p = Tensor::zeros({1, 1, 60}, DType::f32);
  for (const auto& [x, value] : probabilities) p.data<float>()[x] = value;
  return p;
}

}  // namespace

TEST(calibration, counts_around_what_is_there_or_is_said_to_be) {
  const Tensor truth = paint_boxes(kLine, {{{0, 0, 20}, {1, 1, 22}}});
  Calibration c;
  // Beside the truth .75 twice; far away .625, which is false, and .0625, which is too little to look at.
  c.add(line({{20, .75f}, {19, .75f}, {40, .625f}, {55, .0625f}}), truth, kSpacing_mm);
  EXPECT_EQ(c.all().voxels, 13 + 11);  // 14 to 26, 35 to 45
  EXPECT_EQ(c.bins[7].voxels, 2);
  EXPECT_EQ(c.bins[7].inside, 1);
  EXPECT_DOUBLE_EQ(c.bins[7].probability, 1.5);
  EXPECT_EQ(c.bins[6].voxels, 1);
  EXPECT_EQ(c.bins[6].inside, 0);
  EXPECT_EQ(c.bins[0].voxels, 21);
  EXPECT_EQ(c.bins[0].inside, 1);
  EXPECT_DOUBLE_EQ(c.expected_error(), (.5 + .625 + 1) / 24);
  EXPECT_DOUBLE_EQ(c.bias(), (1.5 + .625 - 2) / 24);
}

TEST(calibration, probabilities_that_are_right_have_no_error) {
  const Tensor truth = paint_boxes(kLine, {{{0, 0, 30}, {1, 1, 31}}});
  Calibration c;
  c.add(line({{30, .5f}, {31, .5f}}), truth, kSpacing_mm);
  EXPECT_DOUBLE_EQ(c.expected_error(), 0);
  Calibration sure;
  sure.add(line({{30, 1}}), truth, kSpacing_mm);
  EXPECT_EQ(sure.bins[9].voxels, 1);  // 1 belongs to the last bin
  EXPECT_DOUBLE_EQ(sure.expected_error(), 0);
}

TEST(calibration, nothing_anywhere_is_not_a_number) {
  Calibration c;
  c.add(line({}), paint_boxes(kLine, {}), kSpacing_mm);
  EXPECT_EQ(c.all().voxels, 0);
  EXPECT_TRUE(std::isnan(c.expected_error()));
}

TEST(calibration, cases_are_a_table_and_together_a_diagram) {
  const Tensor truth = paint_boxes(kLine, {{{0, 0, 30}, {1, 1, 31}}});
  std::vector<CaseCalibration> cases{{"a", "tc", {}}, {"b", "tc", {}}};
  cases[0].calibration.add(line({{30, .75f}}), truth, kSpacing_mm);
  cases[1].calibration.add(line({{31, .75f}}), truth, kSpacing_mm);
  const CsvTable table = calibration_table(cases);
  ASSERT_EQ(table.rows.size(), 20u);
  EXPECT_EQ(table.rows[7], (std::vector<std::string>{"a", "tc", "0.7", "0.8", "1", "1", "0.75"}));
  EXPECT_EQ(table.rows[8][6], "nan");
  const Json json = calibration_json(cases)["tc"];
  EXPECT_EQ(json["bins"][7]["voxels"], 2);
  EXPECT_EQ(json["bins"][7]["share_inside"], .5);
  EXPECT_EQ(json["bins"][7]["mean_probability"], .75);
  // 11 voxels of a; of b the truth, what is wrong beside it and five to either side; a's .25, b's .75, and the missed
  // one.
  EXPECT_EQ(json["voxels"], 11 + 12);
  EXPECT_DOUBLE_EQ(json["ece"].get<double>(), (.5 + 1) / 23);
}

}  // namespace metvox
