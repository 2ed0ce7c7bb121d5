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
    for (int i = 0; i < cases_; ++i) {
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

  int cases_ = 8;
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
        "agreement": {"tc": {"case_volume_ml": {"bias": -1.5, "limit_low": -2, "limit_high": 3, "concordance": 0.75},
                             "longest_mm": {"n": 9, "bias": -0.25, "limit_low": -1, "limit_high": 1.5, "concordance": 0.375}},
          "sum_of_longest_diameters_mm": {"n": 7, "bias": 0.5, "limit_low": -4, "limit_high": 5, "concordance": 0.625}}}})"));
  const std::string text = page();
  EXPECT_EQ(count(text, "<td>0.432</td>"), 4);
  EXPECT_EQ(count(text, "HD100"), 0);
  EXPECT_EQ(count(text, "<td>−2.00 to 3.00</td>"), 4);
  EXPECT_EQ(count(text, "FROC"), 1);
  EXPECT_EQ(count(text, "<td>7</td><td>0.5</td><td>−4.0 to 5.0</td><td>0.625</td>"), 4);
  EXPECT_EQ(count(text, "<td>9</td><td>−0.2</td><td>−1.0 to 1.5</td><td>0.375</td>"), 4);
  EXPECT_EQ(count(text, "<td>0.062</td>"), 4);
  EXPECT_EQ(count(text, "<td>−0.03"), 4);
  EXPECT_EQ(count(text, "0.05 said, 0.01 true"), 4);
}

// Nine tests of six cases each: 9 / 64 is the least that Holm can leave.
TEST_F(study_report, counts_what_is_left_after_holm_and_says_what_cannot_be_shown) {
  cases_ = 6;
  for (const StudySystem& system : study_systems(config_)) write_scores(system);
  const std::string text = page();
  EXPECT_EQ(count(text, "better than those trained from scratch in 0 of 9 tests"), 1);
  EXPECT_EQ(count(text, "The smallest p Holm that they can give is 0.1406: no difference"), 1);
  EXPECT_EQ(count(text, "<b>9 tests each of default, segresnet and models' mean cannot reach 0.05</b>, however large "
                        "the differences: the smallest p Holm is 0.1406"),
            1);
  EXPECT_EQ(count(text, "<td>0.0156</td><td>0.1406</td>"), 3 * 9);
}

TEST_F(study_report, eight_cases_can_show_something_of_a_model_and_less_between_models) {
  config_.reference = "default";
  const std::string text = page();
  EXPECT_EQ(count(text, "The smallest p Holm that they can give is 0.0352.</p>"), 1);
  EXPECT_EQ(count(text, "9 tests each of default, segresnet and models' mean: p Holm can be as small as 0.0352"), 1);
  EXPECT_EQ(count(text, "9 tests: p Holm can be"), 0);
  EXPECT_EQ(count(text, "<b>9 tests cannot reach 0.05</b>"), 1);  // equal systems: no pair differs
}

// Differences 0.1, 0.11, ... 0.17: mean 0.135; what eight such pairs could show, by SciPy 1.15's nct, 0.02396.
TEST_F(study_report, says_what_could_be_shown_beside_the_difference) {
  const StudySystem system = study_systems(config_)[0];
  const Path file = study_ / study_paths::scores(system) / "scores.csv";
  CsvTable scores = read_csv(file);
  for (size_t i = 0; i < scores.rows.size(); ++i)
    scores.rows[i][scores.column("DICE_tc", file)] = csv_number(0.6 + 0.02 * static_cast<double>(i));
  write_csv(file, scores);
  const std::string text = page();
  EXPECT_EQ(count(text, "<td>0.135 ["), 1);
  EXPECT_EQ(count(text, "]</td><td>0.024</td></tr>"), 1);
}

TEST_F(study_report, nothing_is_hidden_on_paper) {
  const std::string text = page();
  EXPECT_EQ(count(text, "details::details-content{content-visibility:visible"), 1);
}

// A threshold that merges lesions: the curve goes the way of the thresholds.
TEST_F(study_report, draws_the_froc_in_the_order_of_the_thresholds) {
  write_json(study_ / study_paths::scores(study_systems(config_)[0]) / "summary.json",
             Json::parse(R"({"overview": {"froc": {"tc": {"points": [{"recall": 0.75, "false_per_case": 1},
        {"recall": 0.5, "false_per_case": 1}, {"recall": 0.25, "false_per_case": 0}]}}}})"));
  const std::string text = page();
  svg::Plot plot({"", "false lesions a case", ""}, svg::axis_over({0, 1}, 5), {0, 1, 0.2});
  plot.curve({{1, 0.75}, {1, 0.5}, {0, 0.25}}, "red");
  const std::string drawn = plot.svg();
  const size_t at = drawn.find("<path d=\"");
  EXPECT_EQ(count(text, drawn.substr(at, drawn.find('"', at + 9) - at)), 1);
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
