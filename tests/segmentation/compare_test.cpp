// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/compare.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "io/csv.h"
#include "segmentation/study/forest_plot.h"
#include "tests/segmentation/statistics_golden.h"

namespace metvox {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

Path folder(const std::string& name) {
  const Path dir = Path(testing::TempDir()) / ("metvox-compare-" + std::to_string(getpid())) / name;
  std::filesystem::remove_all(dir);
  std::filesystem::create_directories(dir);
  return dir;
}

// A score file of so many cases, all alike but for what the test changes.
CsvTable table_of(int cases) {
  CsvTable table;
  table.columns = {"sample"};
  for (const std::string& metric : study_metrics()) table.columns.push_back(metric);
  for (int i = 0; i < cases; ++i) {
    table.rows.push_back({"case" + std::to_string(i)});
    for (const std::string& metric : study_metrics())
      table.rows.back().push_back(metric.starts_with("Hausdorff") ? std::to_string(1 + i) : i % 2 ? "0.75" : "0.5");
  }
  return table;
}

std::string& cell(CsvTable& table, int row, const std::string& column) {
  return table.rows[row][table.column(column, "table")];
}

ScoreFile write(const Path& dir, const std::string& model, Regime regime, const CsvTable& table) {
  const Path path = dir / (model + "-" + name_of(regime) + ".csv");
  write_csv(path, table);
  return {model, regime, path};
}

// Fine-tuned and scratch of one model.
std::vector<ScoreFile> two_files(const Path& dir, const CsvTable& tuned, const CsvTable& scratch) {
  return {write(dir, "m", Regime::fine_tuned, tuned), write(dir, "m", Regime::scratch, scratch)};
}

const PairTest& find(const StudyComparison& c, const std::string& comparison, const std::string& group,
                     const std::string& metric) {
  for (const PairTest& t : c.tests)
    if (t.comparison == comparison && t.group == group && t.metric == metric) return t;
  throw std::runtime_error("no test " + comparison + " " + group + " " + metric);
}

const Descriptive& find(const StudyComparison& c, const std::string& system, const std::string& metric) {
  for (const Descriptive& d : c.descriptive)
    if (d.system == system && d.metric == metric) return d;
  throw std::runtime_error("no numbers " + system + " " + metric);
}

bool has_note(const std::vector<Note>& notes, const std::string& sample, const std::string& text) {
  return std::any_of(notes.begin(), notes.end(),
                     [&](const Note& n) { return n.sample == sample && n.text.find(text) != std::string::npos; });
}

std::string refusal(const std::vector<ScoreFile>& files) {
  try {
    read_study_scores(files);
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::input);
    return e.what();
  }
  return "";
}

testing::AssertionResult says(const std::string& text, const std::string& part) {
  return (text.find(part) == std::string::npos ? testing::AssertionFailure() : testing::AssertionSuccess())
         << "\"" << text << "\", expected \"" << part << "\"";
}

StudyScores golden_study() {
  StudyScores out;
  for (const Json& s : statistics_golden().at("study").at("scores")) {
    SystemScores& system = out.systems.emplace_back();
    system.model = s["model"];
    system.regime = s["regime"] == "scratch" ? Regime::scratch : Regime::fine_tuned;
    for (const auto& [metric, values] : s["columns"].items()) system.values[metric] = doubles(values);
  }
  for (int i = 0; i < 9; ++i) out.samples.push_back("case" + std::to_string(i));
  return out;
}

}  // namespace

// Every p value of both modes against SciPy and against all choices of signs (tests/golden/make_statistics.py).
TEST(compare, golden_study) {
  const StudyScores scores = golden_study();
  const StudyComparison paired = compare(scores, CompareMode::paired, "b", 1);
  const StudyComparison paper = compare(scores, CompareMode::paper, "", 1);
  const Json& rows = statistics_golden().at("study").at("p_values");
  for (const Json& row : rows) {
    const PairTest& t = find(row[0] == "paper" ? paper : paired, row[1], row[2], row[3]);
    const double p = row[4];
    EXPECT_NEAR(t.result.p_value, p, 1e-12 * p) << row.dump();
  }
  EXPECT_EQ(rows.size(), paired.tests.size() + paper.tests.size());
  EXPECT_EQ(paired.descriptive.size(), 6 * 18u);
  EXPECT_EQ(paper.omnibus.size(), 12u);
}

TEST(compare, holm_is_within_a_model_and_over_all_architectures) {
  const StudyComparison c = compare(golden_study(), CompareMode::paired, "b", 1);
  const auto expect_holm = [&](size_t first, size_t count) {
    std::vector<double> p;
    for (size_t i = first; i < first + count; ++i) p.push_back(c.tests[i].result.p_value);
    for (size_t i = 0; i < count; ++i) EXPECT_EQ(c.tests[first + i].p_holm, holm(p)[i]);
  };
  ASSERT_EQ(c.tests.size(), 4 * 9 + 18u);
  for (size_t group = 0; group < 4; ++group) expect_holm(9 * group, 9);
  expect_holm(36, 18);
  EXPECT_EQ(c.tests[36].comparison, "architecture");
  EXPECT_EQ(c.tests[36].alternative, Alternative::two_sided);
}

TEST(compare, each_metric_has_its_direction) {
  const Path dir = folder("direction");
  CsvTable tuned = table_of(6), scratch = table_of(6);
  for (int i = 0; i < 6; ++i) {
    cell(tuned, i, "DICE_et") = std::to_string(0.9 + 0.01 * i);
    cell(tuned, i, "Hausdorff_et") = "0.5";
  }
  const StudyComparison c = compare(read_study_scores(two_files(dir, tuned, scratch)), CompareMode::paired, "", 1);
  for (const std::string metric : {"DICE_et", "Hausdorff_et"}) {
    const PairTest& t = find(c, "fine-tuned_vs_scratch", "m", metric);
    EXPECT_EQ(t.alternative, metric == "DICE_et" ? Alternative::greater : Alternative::less);
    EXPECT_EQ(t.a_better_cases, 6);
    EXPECT_EQ(t.result.p_value, 1.0 / 64);
    EXPECT_EQ(t.smallest_p, 1.0 / 64);
    EXPECT_EQ(t.p_holm, 9.0 / 64);
    EXPECT_EQ(t.rank_biserial, 1);
  }
  const PairTest& same = find(c, "fine-tuned_vs_scratch", "m", "DICE_tc");
  EXPECT_EQ(same.equal_cases, 6);
  EXPECT_EQ(same.result.p_value, 1);
  EXPECT_EQ(same.rank_biserial, 0);
  EXPECT_EQ(c.tests.size(), 9u);  // a pool of one model would say the same again
}

TEST(compare, rows_are_joined_by_case) {
  const Path dir = folder("order");
  CsvTable tuned = table_of(5), scratch = table_of(5);
  std::reverse(scratch.rows.begin(), scratch.rows.end());
  cell(scratch, 0, "sample") += ".nii.gz";
  const StudyComparison c = compare(read_study_scores(two_files(dir, tuned, scratch)), CompareMode::paired, "", 1);
  for (const PairTest& t : c.tests) EXPECT_EQ(t.equal_cases, 5) << t.metric;
}

TEST(compare, order_of_files_does_not_matter) {
  StudyScores scores = golden_study();
  const StudyComparison a = compare(scores, CompareMode::paired, "b", 1);
  std::reverse(scores.systems.begin(), scores.systems.end());
  const StudyComparison b = compare(scores, CompareMode::paired, "b", 1);
  for (size_t i = 0; i < a.tests.size(); ++i) {
    EXPECT_EQ(a.tests[i].group, b.tests[i].group);
    EXPECT_EQ(a.tests[i].result.p_value, b.tests[i].result.p_value);
    EXPECT_EQ(a.tests[i].difference95.low, b.tests[i].difference95.low);
  }
}

TEST(compare, what_is_not_finite_is_told) {
  const Path dir = folder("infinite");
  CsvTable tuned = table_of(5), scratch = table_of(5);
  cell(scratch, 0, "Hausdorff_et") = "inf";  // scratch missed it
  cell(scratch, 0, "DICE_et") = "0";
  cell(scratch, 0, "Predicted_volume_et") = "0";
  for (CsvTable* t : {&tuned, &scratch}) {  // nothing there, nothing found
    cell(*t, 1, "True_volume_wt") = cell(*t, 1, "Predicted_volume_wt") = "0";
    cell(*t, 1, "DICE_wt") = "nan";
    cell(*t, 1, "Sensitivity_wt") = "";
    cell(*t, 1, "Hausdorff_wt") = "inf";
  }
  const StudyComparison c = compare(read_study_scores(two_files(dir, tuned, scratch)), CompareMode::paired, "", 1);
  EXPECT_EQ(find(c, "m:scratch", "Hausdorff_et").n, 4);
  EXPECT_EQ(find(c, "m:scratch", "Hausdorff_et").mean, 3.5);
  const PairTest& missed = find(c, "fine-tuned_vs_scratch", "m", "Hausdorff_et");
  EXPECT_EQ(missed.n_cases, 5);
  EXPECT_EQ(missed.a_better_cases, 1);
  EXPECT_EQ(missed.mean_b, kInf);
  EXPECT_EQ(missed.result.p_value, 0.5);
  EXPECT_TRUE(std::isnan(missed.mean_difference));
  for (const std::string metric : {"DICE_wt", "Hausdorff_wt", "Sensitivity_wt"}) {
    EXPECT_EQ(find(c, "m:scratch", metric).n, 4) << metric;
    EXPECT_EQ(find(c, "fine-tuned_vs_scratch", "m", metric).n_cases, 4) << metric;
  }
  EXPECT_TRUE(has_note(c.notes, "case0", "infinite"));
  EXPECT_TRUE(has_note(c.notes, "case0", "et is empty in the prediction"));
  EXPECT_TRUE(has_note(c.notes, "case1", "wt is empty in truth and prediction"));
  EXPECT_TRUE(has_note(c.notes, "case1", "not a number"));
  write_comparison(c, dir / "out");
  EXPECT_EQ(read_csv(dir / "out/notes.csv").rows.size(), c.notes.size());
  EXPECT_EQ(read_csv(dir / "out/comparison.csv").rows.size(), 9u);
}

TEST(compare, a_case_counts_where_both_sides_have_a_number) {
  const Path dir = folder("one side");
  CsvTable tuned = table_of(5), scratch = table_of(5);
  cell(scratch, 2, "Sensitivity_tc") = "nan";
  cell(tuned, 3, "DICE_tc") = "nan";
  const StudyScores scores = read_study_scores(two_files(dir, tuned, scratch));
  for (const CompareMode mode : {CompareMode::paired, CompareMode::paper}) {
    const StudyComparison c = compare(scores, mode, "", 1);
    for (const char* metric : {"Sensitivity_tc", "DICE_tc"}) {
      const PairTest& t = find(c, "fine-tuned_vs_scratch", mode == CompareMode::paired ? "m" : "pooled", metric);
      EXPECT_EQ(t.n_cases, 4) << metric;
      EXPECT_TRUE(std::isfinite(t.mean_a) && std::isfinite(t.mean_b)) << metric;
      EXPECT_EQ(t.mean_a, t.mean_b) << metric;
    }
  }
}

// The published rule: the first of the worst.
TEST(compare, of_equal_cases_the_first_is_marked) {
  StudyScores scores;
  scores.samples = {"good", "first", "second"};
  SystemScores& system = scores.systems.emplace_back();
  for (const std::string& metric : study_metrics())
    system.values[metric] = lower_is_better(metric) ? std::vector<double>{1, 9, 9} : std::vector<double>{.9, .5, .5};
  const auto cases = challenging_cases(scores);
  EXPECT_EQ(cases[0].sample, "first");
  EXPECT_EQ(cases[0].marks, 12);
  EXPECT_EQ(cases[2].marks, 0);
}

TEST(compare, a_metric_without_any_number_shows_nothing) {
  const Path dir = folder("nothing");
  CsvTable tuned = table_of(3), scratch = table_of(3);
  for (int i = 0; i < 3; ++i) cell(tuned, i, "DICE_et") = "nan";
  const StudyScores scores = read_study_scores(two_files(dir, tuned, scratch));
  for (const CompareMode mode : {CompareMode::paired, CompareMode::paper}) {
    const StudyComparison c = compare(scores, mode, "", 1);
    const PairTest& t = find(c, "fine-tuned_vs_scratch", mode == CompareMode::paired ? "m" : "pooled", "DICE_et");
    EXPECT_EQ(t.n_cases, 0);
    EXPECT_EQ(t.result.p_value, 1);
    EXPECT_TRUE(std::isnan(t.mean_a));
    EXPECT_EQ(find(c, "m:fine-tuned", "DICE_et").n, 0);
  }
}

TEST(compare, bad_files_are_refused) {
  const Path dir = folder("bad");
  const CsvTable good = table_of(3);
  const auto refused = [&](auto change) {
    CsvTable bad = good;
    change(bad);
    return refusal(two_files(dir, good, bad));
  };
  const auto with = [&](const std::string& column, const std::string& value) {
    return refused([&](CsvTable& t) { cell(t, 1, column) = value; });
  };
  EXPECT_EQ(refused([](CsvTable&) {}), "");
  EXPECT_TRUE(says(refused([](CsvTable& t) { t.rows.pop_back(); }), "has no case case2, which"));
  EXPECT_TRUE(says(refused([](CsvTable& t) { t.rows.push_back({t.rows[0]}); }), "case0 is scored twice"));
  EXPECT_TRUE(says(with("sample", "case0.nii.gz"), "case0 is scored twice"));
  EXPECT_TRUE(says(with("sample", "other"), "every file must score the same cases"));
  EXPECT_TRUE(says(with("sample", ""), "a row has no sample"));
  EXPECT_TRUE(says(refused([](CsvTable& t) { t.rows.clear(); }), "has no cases"));
  EXPECT_TRUE(says(refused([](CsvTable& t) {
                     t.columns.push_back("DICE_et");
                     for (auto& row : t.rows) row.push_back("0.5");
                   }),
                   "the column \"DICE_et\" is there twice"));
  EXPECT_TRUE(says(refused([](CsvTable& t) { t.columns[1] = "Dice"; }), "has no column \"DICE_et\""));
  EXPECT_TRUE(says(with("DICE_et", "good"), "DICE_et of case1 is \"good\", expected a number"));
  EXPECT_TRUE(says(with("DICE_et", "0.5 mm"), "expected a number"));
  EXPECT_TRUE(says(with("DICE_et", "1.5"), "is 1.5, expected 0 to 1"));
  EXPECT_TRUE(says(with("Sensitivity_wt", "inf"), "is inf, expected 0 to 1"));
  EXPECT_TRUE(says(with("Hausdorff_tc", "-1"), "is -1, expected 0 or more"));
  EXPECT_TRUE(says(with("Hausdorff_tc", "-inf"), "is -inf, expected 0 or more"));
  EXPECT_TRUE(says(with("True_volume_et", "inf"), "infinite"));
}

TEST(compare, another_truth_is_told) {
  CsvTable other = table_of(3);
  cell(other, 2, "True_volume_tc") = "0.9";
  const StudyScores scores = read_study_scores(two_files(folder("truth"), table_of(3), other));
  ASSERT_EQ(scores.notes.size(), 1u);
  EXPECT_TRUE(has_note(scores.notes, "case2", "0.9 ml here and 0.5 ml in the first file"));
}

TEST(compare, a_model_without_its_other_regime_is_left_out_and_told) {
  StudyScores scores = golden_study();
  std::erase_if(scores.systems, [](const SystemScores& s) {
    return (s.model == "a" && s.regime == Regime::fine_tuned) || (s.model == "c" && s.regime == Regime::scratch);
  });
  const StudyComparison paired = compare(scores, CompareMode::paired, "b", 1);
  const StudyComparison paper = compare(scores, CompareMode::paper, "", 1);
  ASSERT_EQ(paired.tests.size(), 9 + 9u);  // b itself, b against c
  EXPECT_EQ(paired.tests[9].group, "b_vs_c");
  EXPECT_EQ(paper.tests.size(), 12u);
  EXPECT_TRUE(paper.omnibus.empty());
  ASSERT_EQ(paired.notes.size(), 2u);
  EXPECT_EQ(paired.notes[0].system, "a:scratch");
  EXPECT_TRUE(says(paired.notes[0].text, "fine-tuned_vs_scratch and of what compares models"));
  EXPECT_TRUE(paired.notes[1].text.ends_with("fine-tuned_vs_scratch"));
}

TEST(compare, forest_plot_has_a_mark_for_every_test) {
  StudyComparison c = compare(golden_study(), CompareMode::paired, "b", 1);
  const auto count = [&](const std::string& part) {
    const std::string svg = forest_plot(c);
    int found = 0;
    for (size_t at = svg.find(part); at != std::string::npos; at = svg.find(part, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("<circle"), 54);
  EXPECT_EQ(count("#9aa3af"), 36 + 2 * 18);  // models against each other: in both directions
  EXPECT_EQ(count("models' mean: fine-tuned vs scratch"), 1);
  EXPECT_EQ(count("b vs c"), 1 + 9);  // and in hints
  EXPECT_EQ(count("font-weight=\"600\">"), 6);
  c.tests[0].difference95.low = kInf;
  for (PairTest& t : c.tests)
    if (t.group == "a") t.group = "<a & b>";
  EXPECT_EQ(count("<circle"), 53);
  EXPECT_EQ(count("not finite"), 1);
  EXPECT_EQ(count("<a & b>"), 0);
  EXPECT_EQ(count("&lt;a &amp; b&gt;: fine-tuned"), 1);
  c.tests.clear();
  EXPECT_EQ(count("</svg>"), 1);
}

}  // namespace metvox
