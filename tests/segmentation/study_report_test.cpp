// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/report.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "io/csv.h"
#include "segmentation/study/report_data.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

int count(const std::string& text, const std::string& what) {
  int n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

// A study of two models whose scores are made up: eight cases, fine-tuned better by 0.1; a lesion a case, that scratch
// misses in the odd ones.
class study_report : public testing::Test {
 protected:
  void SetUp() override {
    study_ = Path(testing::TempDir()) / ("metvox-report-" + std::to_string(getpid()));
    fs::remove_all(study_);
    config_ = study_config(Json::parse(R"({"public": {"phantom": {}}, "private": {"phantom": {}},
        "held_out": {"phantom": {}}, "models": {"default": {}, "segresnet": {"lr": 0.00125}}})"),
                           "/study.json");
    for (const StudySystem& system : study_systems(config_)) write_scores(system);
  }
  void TearDown() override { fs::remove_all(study_); }

  void write_scores(const StudySystem& system) const {
    const bool tuned = system.regime == Regime::fine_tuned;
    const Path folder = study_ / study_paths::scores(system);
    make_folder(folder);
    CsvTable scores{{"sample"}, {}},
        lesions{{"sample", "region", "kind", "id", "x_mm", "y_mm", "z_mm", "diameter_mm"}, {}};
    for (const std::string& metric : study_metrics()) scores.columns.push_back(metric);
    for (int i = 0; i < 8; ++i) {
      const std::string id = "case<" + std::to_string(i) + ">";
      scores.rows.push_back({id});
      for (const std::string& metric : study_metrics())
        scores.rows.back().push_back(csv_number(lower_is_better(metric)          ? 5 + i - tuned
                                                : metric.starts_with("True_vol") ? 1
                                                                                 : 0.5 + 0.01 * i + 0.1 * tuned));
      const bool found = tuned || i % 2 == 0;
      const double rounding = tuned ? 1e-15 : 0;  // crops of different systems begin at different voxels
      lesions.rows.push_back({id, "tc", found ? "matched" : "missed", "1", csv_number(1 + rounding), "2", csv_number(i),
                              csv_number(2 + i)});
    }
    write_csv(folder / "scores.csv", scores);
    write_csv(folder / "lesions.csv", lesions);
  }
  std::string page() const {
    write_study_report(config_, study_);
    return read_text(study_ / "report" / "index.html");
  }

  Path study_;
  StudyConfig config_;
};

}  // namespace

TEST_F(study_report, draws_and_tells_what_the_scores_say) {
  const std::string text = page();
  EXPECT_EQ(count(text, "Phantoms are not patients"), 1);
  EXPECT_EQ(count(text, "not a medical device"), 1);
  EXPECT_EQ(count(text, "better than those trained from scratch in 9 of 9 tests"), 1);
  EXPECT_EQ(count(text, "<b>+0.100</b>"), 3);
  EXPECT_EQ(count(text, "<b>−1.00</b>"), 1);
  EXPECT_EQ(count(text, "0.635 ± 0.023"), 2 * 3 * 2);  // Dice and Sensitivity of both fine-tuned models
  EXPECT_EQ(count(text, "instead of the network's own 0.0001"), 1);
  EXPECT_EQ(count(text, "0.00125"), 2);  // in the table of models, in study.json
  EXPECT_EQ(count(text, "4 of 8 lesions were missed by at least one system, 0 of them by all"), 1);
  EXPECT_EQ(count(text, "4 of 8 (0.50)"), 2);
  EXPECT_EQ(count(text, "case<0"), 0);
  EXPECT_EQ(count(text, "No pictures"), 1);
  EXPECT_EQ(count(text, "Nothing was given a probability"), 1);
  EXPECT_EQ(count(text, "Nobody has been asked yet"), 1);
  EXPECT_EQ(count(text, "left out"), 0);
  EXPECT_EQ(count(text, "Lesion by lesion"), 0);
  EXPECT_EQ(count(text, "<script"), 0);
}

TEST_F(study_report, shows_what_evaluate_says_of_all_cases) {
  for (const StudySystem& system : study_systems(config_))
    write_json(study_ / study_paths::scores(system) / "summary.json",
               Json::parse(R"({"overview": {"columns": {"LW2023_Dice_tc": {"mean": 0.4321}, "HD100_tc": {"mean": null}},
        "froc": {"tc": {"points": [{"recall": 0.25, "false_per_case": 2}, {"recall": null, "false_per_case": 1}]}},
        "calibration": {"tc": {"ece": 0.0625, "bias": -0.0315,
          "bins": [{"mean_probability": 0.05, "share_inside": 0.01}, {"mean_probability": null, "share_inside": null}]}},
        "agreement": {"tc": {"case_volume_ml": {"bias": -1.5, "limit_low": -2, "limit_high": 3, "concordance": 0.75}}}}})"));
  const std::string text = page();
  EXPECT_EQ(count(text, "<td>0.432</td>"), 4);
  EXPECT_EQ(count(text, "HD100"), 0);
  EXPECT_EQ(count(text, "<td>-2.00 to 3.00</td>"), 4);
  EXPECT_EQ(count(text, "FROC"), 1);
  EXPECT_EQ(count(text, "<td>0.062</td>"), 4);
  EXPECT_EQ(count(text, "<td>-0.03"), 4);
  EXPECT_EQ(count(text, "0.05 said, 0.01 true"), 4);
}

TEST_F(study_report, names_what_jobs_left_out) {
  const StudySystem system = study_systems(config_)[0];
  write_json(study_ / study_paths::scores(system) / "summary.json",
             Json::parse(R"({"overview": {"not_evaluated": ["case <nine>: torn"]}})"));
  make_folder(study_ / "jobs");
  write_text(study_ / study_paths::partial("evaluate-" + system.name()), "1\n");
  const std::string text = page();
  EXPECT_EQ(count(text, "Cases are left out"), 1);
  EXPECT_EQ(count(text, "evaluate-default-fine-tuned"), 1);
  EXPECT_EQ(count(text, "<li>case &lt;nine&gt;: torn</li>"), 1);
  EXPECT_EQ(count(text, "the 8 held-out cases"), 1);
}

TEST_F(study_report, says_what_is_not_there_yet) {
  fs::remove_all(study_ / "scores" / "segresnet-scratch");
  const std::string text = page();
  EXPECT_EQ(count(text, "No scores yet of segresnet-scratch."), 1);
  EXPECT_EQ(count(text, "4 of 8 (0.50)"), 1);
  fs::remove_all(study_ / "scores");
  EXPECT_THROW(write_study_report(config_, study_), Error);
}

TEST_F(study_report, an_infinite_distance_is_counted_and_not_drawn) {
  const StudySystem system = study_systems(config_)[0];
  const Path file = study_ / study_paths::scores(system) / "scores.csv";
  CsvTable scores = read_csv(file);
  scores.rows[3][scores.column("Hausdorff_tc", file)] = "inf";
  write_csv(file, scores);
  const std::string text = page();
  EXPECT_EQ(count(text, "(n 7)"), 1);
  EXPECT_EQ(count(text, "∞"),
            1 + 5);  // the case's own number, and means of tests: two paired, two as published, a model
}

}  // namespace metvox
