// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/scores.h"

#include <cmath>
#include <fstream>

#include "fake_model.h"
#include "io/nifti.h"
#include "lesion_cases.h"

namespace metvox {

namespace {

// 10 x 9 x 8 voxels (x, y, z) of 2 x 1 x .5 mm.
Geometry grid_at(double offset_mm) {
  return make_geometry({10, 9, 8}, Affine{{{{2, 0, 0, offset_mm}, {0, 1, 0, 0}, {0, 0, .5, 0}, {0, 0, 0, 1}}}});
}

struct Box {
  int label;
  Int3 first, last;  // (z, y, x), half open
};

Tensor paint(const std::vector<Box>& boxes) {
  Tensor t = Tensor::zeros({8, 9, 10}, DType::u8);
  for (const Box& b : boxes)
    for (int64_t z = b.first[0]; z < b.last[0]; ++z)
      for (int64_t y = b.first[1]; y < b.last[1]; ++y)
        for (int64_t x = b.first[2]; x < b.last[2]; ++x)
          t.data<uint8_t>()[(z * 9 + y) * 10 + x] = static_cast<uint8_t>(b.label);
  return t;
}

// Oedema around a ring around a core; a second lesion of one voxel.
Tensor truth_labels() {
  return paint(
      {{2, {1, 1, 1}, {7, 6, 6}}, {3, {2, 2, 2}, {6, 5, 5}}, {1, {3, 3, 3}, {5, 4, 4}}, {3, {7, 8, 9}, {8, 9, 10}}});
}
// The same moved by a voxel along x, without the second lesion, with a false one of two voxels.
Tensor predicted_labels() {
  return paint(
      {{2, {1, 1, 2}, {7, 6, 7}}, {3, {2, 2, 3}, {6, 5, 6}}, {1, {3, 3, 4}, {5, 4, 5}}, {3, {0, 8, 0}, {1, 9, 2}}});
}

Labels brats_labels() {
  const Json json = Json::parse(R"({"labels": {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": 3},
                                    "regions_class_order": [2, 1, 3]})");
  return Labels::from_json(json, "test");
}

double cell(const CsvTable& table, const std::string& column, size_t row = 0) {
  return std::stod(table.rows[row][table.column(column, "test")]);
}

}  // namespace

TEST(scores, a_case_by_hand) {
  const CaseScores scores = score_case("a", predicted_labels(), truth_labels(), grid_at(0));
  const CsvTable table = scores_table({scores});
  EXPECT_EQ(table.columns.size(), 19u);
  EXPECT_EQ(table.columns[0] + " " + table.columns[1] + " " + table.columns[4] + " " + table.columns[18],
            "sample DICE_et Hausdorff_et Predicted_volume_wt");
  EXPECT_EQ(table.rows[0][0], "a");
  // wt: 6 x 5 x 5 voxels each, 6 x 5 x 4 common; plus 1 missed and 2 false.
  EXPECT_DOUBLE_EQ(cell(table, "DICE_wt"), 2.0 * 120 / (151 + 152));
  EXPECT_DOUBLE_EQ(cell(table, "Sensitivity_wt"), 120.0 / 151);
  EXPECT_DOUBLE_EQ(cell(table, "Specificity_wt"), (720.0 - 151 - 32) / (720 - 151));
  EXPECT_DOUBLE_EQ(cell(table, "True_volume_wt"), 151.0 / 1000);
  EXPECT_DOUBLE_EQ(cell(table, "Predicted_volume_wt"), 152.0 / 1000);
  // tc: 4 x 3 x 3 each, 4 x 3 x 2 common.
  EXPECT_DOUBLE_EQ(cell(table, "DICE_tc"), 2.0 * 24 / (37 + 38));
  // et: the shell without a core of 2 x 1 x 1 that moved by one: 24 common, less each core's 2.
  EXPECT_DOUBLE_EQ(cell(table, "DICE_et"), 2.0 * 20 / (35 + 36));
  EXPECT_EQ(cell(table, "Hausdorff_wt"), 2);  // moved by a voxel of 2 mm; the far voxels are less than 5 % of the area

  const CsvTable extended = extended_table({scores});
  EXPECT_DOUBLE_EQ(cell(extended, "IoU_wt"), 120.0 / (151 + 32));
  EXPECT_EQ(cell(extended, "TP_tc") + cell(extended, "FP_tc") + cell(extended, "FN_tc") + cell(extended, "TN_tc"), 720);
  // From the far corner of the missed voxel: 3 voxels of 2 mm, 3 of 1 mm, 1 of .5 mm.
  EXPECT_DOUBLE_EQ(cell(extended, "HD100_wt"), std::sqrt(36 + 9 + .25));
  EXPECT_EQ(cell(extended, "Lesions_found_tc"), 1);
  EXPECT_EQ(cell(extended, "Lesions_missed_tc"), 1);
  EXPECT_EQ(cell(extended, "Lesions_false_tc"), 1);
  EXPECT_LE(cell(extended, "NSD_0.5mm_wt"), cell(extended, "NSD_2mm_wt"));

  const CsvTable lesions = lesions_table({scores});
  ASSERT_EQ(lesions.rows.size(), 9u);
  EXPECT_EQ(lesions.rows[4][2], "missed");
  EXPECT_EQ(cell(lesions, "x_mm", 4), 18);
  EXPECT_EQ(cell(lesions, "volume_mm3", 4), 1);
  EXPECT_EQ(lesions.rows[5][2], "false");
  EXPECT_EQ(lesions.rows[5][lesions.column("dice", "test")], "");
}

// segmentationmetrics 1.2.0, which has no numbers where a mask is empty.
TEST(scores, agrees_with_segmentationmetrics) {
  int compared = 0;
  for (const GoldenCase& c : golden_lesion_cases()) {
    const Shape& n = c.truth.shape();
    Geometry grid = make_geometry(
        {n[2], n[1], n[0]},
        Affine{{{{c.spacing_mm[2], 0, 0, 0}, {0, c.spacing_mm[1], 0, 0}, {0, 0, c.spacing_mm[0], 0}, {0, 0, 0, 1}}}});
    const CsvTable table = scores_table({score_case("golden", c.prediction, c.truth, grid)});
    for (const char* region : {"et", "tc", "wt"}) {
      const Json& expected = c.regions.at(region).at("scores");
      if (expected.is_null()) continue;
      ++compared;
      const std::array<const char*, 6> columns{"DICE",        "Hausdorff",   "Sensitivity",
                                               "Specificity", "True_volume", "Predicted_volume"};
      for (size_t i = 0; i < columns.size(); ++i)
        expect_golden(cell(table, sentence(columns[i], "_", region)), expected[i], sentence(columns[i], "_", region));
    }
  }
  EXPECT_GT(compared, 30);
}

TEST(scores, empty_folders_are_said_to_be_empty) {
  try {
    evaluate(fresh_dir("no-pred"), fresh_dir("no-truth"), brats_labels(), fresh_dir("no-out"), silent);
    FAIL() << "nothing was evaluated";
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::input);
    EXPECT_NE(std::string(e.what()).find("there are no label maps in either"), std::string::npos) << e.what();
  }
}

TEST(scores, empty_regions_are_nan_and_infinite) {
  const CsvTable table = scores_table({score_case("e", paint({}), paint({{2, {0, 0, 0}, {1, 1, 1}}}), grid_at(0))});
  EXPECT_EQ(table.rows[0][table.column("DICE_et", "")], "nan");
  EXPECT_EQ(table.rows[0][table.column("Hausdorff_et", "")], "inf");
  EXPECT_EQ(table.rows[0][table.column("Sensitivity_et", "")], "nan");
  EXPECT_EQ(cell(table, "DICE_wt"), 0);
  EXPECT_EQ(table.rows[0][table.column("Hausdorff_wt", "")], "inf");
}

TEST(scores, folders_are_paired_by_case) {
  const Path pred = fresh_dir("pred"), truth = fresh_dir("truth"), out = fresh_dir("out");
  write_nifti(truth / "b-seg.nii.gz", truth_labels(), grid_at(0));
  write_nifti(truth / "a-seg.nii.gz", truth_labels(), grid_at(0));
  write_nifti(truth / "moved-seg.nii.gz", truth_labels(), grid_at(0));
  write_nifti(truth / "unseen-seg.nii.gz", truth_labels(), grid_at(0));
  write_nifti(pred / "a.nii.gz", predicted_labels(), grid_at(0));
  write_nifti(pred / "b.nii.gz", truth_labels(), grid_at(0));
  write_nifti(pred / "moved.nii.gz", predicted_labels(), grid_at(1));
  write_nifti(pred / "extra.nii.gz", predicted_labels(), grid_at(0));
  std::ofstream(pred / "torn.nii.gz") << "not an image";
  std::ofstream(truth / "torn-seg.nii.gz") << "not an image";
  const Evaluation result = evaluate(pred, truth, brats_labels(), out, silent);
  EXPECT_EQ(result.cases, 2);
  ASSERT_EQ(result.faults.size(), 4u);
  for (const char* name : {"moved", "unseen", "extra", "torn"})
    EXPECT_TRUE(std::any_of(result.faults.begin(), result.faults.end(), [&](const std::string& f) {
      return f.find(name) != std::string::npos;
    })) << name;
  const CsvTable scores = read_csv(out / "scores.csv");
  ASSERT_EQ(scores.rows.size(), 2u);
  EXPECT_EQ(scores.rows[0][0], "a");
  EXPECT_EQ(scores.rows[1][0], "b");
  EXPECT_EQ(cell(scores, "DICE_wt", 1), 1);
  EXPECT_EQ(cell(scores, "Hausdorff_wt", 1), 0);

  const Json summary = read_json(out / "summary.json");
  EXPECT_EQ(summary["metric_per_case"].size(), 2u);
  EXPECT_DOUBLE_EQ(summary["mean"]["(1, 3)"]["Dice"].get<double>(), (1 + 2.0 * 24 / 75) / 2);
  EXPECT_DOUBLE_EQ(summary["mean"]["3"]["TP"].get<double>(), (35 + 20) / 2.0);
  const double et = summary["mean"]["3"]["Dice"], tc = summary["mean"]["(1, 3)"]["Dice"],
               wt = summary["mean"]["(1, 2, 3)"]["Dice"];
  EXPECT_DOUBLE_EQ(summary["foreground_mean"]["Dice"].get<double>(), (wt + tc + et) / 3);
}

TEST(scores, nothing_to_evaluate_writes_nothing) {
  const Path pred = fresh_dir("pred"), truth = fresh_dir("truth"), out = fresh_dir("r") / "out";
  write_nifti(pred / "a.nii.gz", truth_labels(), grid_at(0));
  write_nifti(truth / "b.nii.gz", truth_labels(), grid_at(0));
  EXPECT_THROW(evaluate(pred, truth, brats_labels(), out, silent), Error);
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST(scores, a_folder_that_takes_nothing_is_told_before_the_work) {
  const Path pred = fresh_dir("pred"), truth = fresh_dir("truth"), file = fresh_dir("r") / "file";
  for (const Path& dir : {pred, truth}) write_nifti(dir / "a.nii.gz", truth_labels(), grid_at(0));
  write_text(file, "");
  for (const Path& out : {file, Path("/proc")}) {  // nobody writes to the latter, root neither
    int64_t cases = 0;
    EXPECT_THROW(evaluate(pred, truth, brats_labels(), out, [&](int64_t, int64_t) { ++cases; }), Error) << out;
    EXPECT_EQ(cases, 0) << out;
  }
}

// A prediction stored in another axis order on the same lattice scores as the one it is.
TEST(scores, turned_predictions_are_turned_back) {
  const Path pred = fresh_dir("pred"), truth = fresh_dir("truth"), out = fresh_dir("out");
  const Tensor labels = truth_labels();
  Tensor turned = Tensor::empty({8, 9, 10}, DType::u8);
  for (int64_t i = 0; i < labels.size(); ++i)
    turned.data<uint8_t>()[i / 10 * 10 + 9 - i % 10] = labels.data<uint8_t>()[i];
  write_nifti(truth / "a.nii.gz", labels, grid_at(0));
  write_nifti(pred / "a.nii.gz", turned,
              make_geometry({10, 9, 8}, Affine{{{{-2, 0, 0, 18}, {0, 1, 0, 0}, {0, 0, .5, 0}, {0, 0, 0, 1}}}}));
  EXPECT_EQ(evaluate(pred, truth, brats_labels(), out, silent).faults.size(), 0u);
  EXPECT_EQ(cell(read_csv(out / "scores.csv"), "DICE_et"), 1);
}

TEST(scores, a_folder_of_predictions_gets_its_summary) {
  const Path pred = fresh_dir("pred"), truth = fresh_dir("truth");
  write_nifti(truth / "a.nii.gz", paint({}), grid_at(0));
  write_nifti(truth / "other.nii.gz", truth_labels(), grid_at(0));
  write_nifti(pred / "a.nii.gz", paint({}), grid_at(0));
  EXPECT_TRUE(evaluate_folder(pred, truth, brats_labels()).empty());
  const Json summary = read_json(pred / "summary.json");
  EXPECT_EQ(summary["metric_per_case"].size(), 1u);
  EXPECT_TRUE(summary["metric_per_case"][0]["metrics"]["3"]["Dice"].is_null());
  EXPECT_TRUE(summary["foreground_mean"]["Dice"].is_null());
  EXPECT_EQ(summary["foreground_mean"]["TN"], 720);
  std::filesystem::remove(truth / "a.nii.gz");
  std::filesystem::remove(pred / "summary.json");
  const auto faults = evaluate_folder(pred, truth, brats_labels());
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_NE(faults[0].find("a: no truth"), std::string::npos) << faults[0];
  EXPECT_FALSE(std::filesystem::exists(pred / "summary.json"));
}

TEST(scores, one_bad_truth_does_not_hide_the_others) {
  const Path pred = fresh_dir("pred"), truth = fresh_dir("truth");
  for (const char* name : {"a.nii.gz", "b.nii.gz", "c.nii.gz"}) {
    write_nifti(pred / name, predicted_labels(), grid_at(0));
    write_nifti(truth / name, truth_labels(), grid_at(0));
  }
  std::filesystem::resize_file(truth / "a.nii.gz", 30);
  write_nifti(truth / "c.nii.gz", truth_labels(), grid_at(1));
  EXPECT_EQ(evaluate_folder(pred, truth, brats_labels()).size(), 2u);
  EXPECT_EQ(read_json(pred / "summary.json")["metric_per_case"].size(), 1u);
}

namespace {

// The sentence about case b, beside a case a without fault.
std::string fault_of_b(const Tensor& prediction, const Tensor& truth) {
  const Path pred = fresh_dir("pred"), truths = fresh_dir("truth"), out = fresh_dir("out");
  write_nifti(pred / "a.nii.gz", predicted_labels(), grid_at(0));
  write_nifti(truths / "a-seg.nii.gz", truth_labels(), grid_at(0));
  write_nifti(pred / "b.nii.gz", prediction, grid_at(0));
  write_nifti(truths / "b-seg.nii.gz", truth, grid_at(0));
  const Evaluation result = evaluate(pred, truths, brats_labels(), out, silent);
  EXPECT_EQ(result.cases, 1);
  return result.faults.size() == 1 ? result.faults[0] : sentence(result.faults.size(), " faults");
}

}  // namespace

TEST(scores, a_label_that_the_data_set_does_not_define_is_a_fault) {
  const Tensor strange = paint({{4, {1, 1, 1}, {2, 2, 3}}, {1, {4, 4, 4}, {5, 5, 5}}});
  const std::string of_prediction = fault_of_b(strange, truth_labels()), of_truth = fault_of_b(truth_labels(), strange);
  for (const std::string& fault : {of_prediction, of_truth})
    EXPECT_NE(fault.find("does not define: 4 (2 voxels); it defines 0, 1, 2, 3"), std::string::npos) << fault;
  EXPECT_NE(of_prediction.find("b.nii.gz"), std::string::npos) << of_prediction;
  EXPECT_NE(of_truth.find("b-seg.nii.gz"), std::string::npos) << of_truth;
}

TEST(scores, a_label_that_is_no_number_is_a_fault) {
  Tensor strange = Tensor::zeros({8, 9, 10}, DType::f32);
  strange.data<float>()[11] = std::nanf("");
  const std::string fault = fault_of_b(truth_labels(), strange);
  EXPECT_NE(
      fault.find("b-seg.nii.gz: 1 voxel holds no label, a whole number from 0 to 255, but nan; the first is (1, 1, 0)"),
      std::string::npos)
      << fault;
}

TEST(scores, a_case_that_is_there_twice_is_a_fault_that_names_both_files) {
  const Path pred = fresh_dir("pred"), truth = fresh_dir("truth"), out = fresh_dir("out");
  for (const char* name : {"a", "b", "c"}) {
    write_nifti(pred / sentence(name, ".nii.gz"), predicted_labels(), grid_at(0));
    write_nifti(truth / sentence(name, "-seg.nii.gz"), truth_labels(), grid_at(0));
  }
  write_nifti(truth / "b.nii.gz", truth_labels(), grid_at(0));
  std::filesystem::create_directories(pred / "folder");
  write_nifti(pred / "folder" / "c.nii", predicted_labels(), grid_at(0));
  const Evaluation result = evaluate(pred, truth, brats_labels(), out, silent);
  EXPECT_EQ(result.cases, 1);
  ASSERT_EQ(result.faults.size(), 2u);
  const auto names = [](const std::string& fault, const Path& one, const Path& other) {
    return fault.find(one.string()) != std::string::npos && fault.find(other.string()) != std::string::npos;
  };
  EXPECT_TRUE(names(result.faults[0], truth / "b-seg.nii.gz", truth / "b.nii.gz")) << result.faults[0];
  EXPECT_TRUE(names(result.faults[1], pred / "c.nii.gz", pred / "folder" / "c.nii")) << result.faults[1];
}

}  // namespace metvox
