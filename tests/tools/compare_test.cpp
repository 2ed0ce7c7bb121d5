// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "io/csv.h"
#include "io/json.h"
#include "segmentation/study/study_scores.h"
#include "tests/tools/subprocess.h"

namespace metvox {
namespace {

// Scores of eight cases, all of them `better` by so much.
std::string scores_file(const Path& folder, const std::string& name, double better) {
  CsvTable table;
  table.columns = {"sample"};
  for (const std::string& metric : study_metrics()) table.columns.push_back(metric);
  for (int i = 0; i < 8; ++i) {
    table.rows.push_back({"case" + std::to_string(i)});
    for (const std::string& metric : study_metrics()) {
      const bool distance = lower_is_better(metric), truth = metric.starts_with("True_volume");
      table.rows.back().push_back(csv_number(distance ? 3 + i - better : 0.5 + 0.01 * i + (truth ? 0 : better)));
    }
  }
  write_csv(folder / name, table);
  return (folder / name).string();
}

}  // namespace

TEST(compare, writes_tables_and_prints_them) {
  const Path folder = fresh_folder("scores");
  const std::vector<std::string> arguments{"compare",
                                           "--scores",
                                           "a:fine-tuned=" + scores_file(folder, "af.csv", 0.2),
                                           "a:scratch=" + scores_file(folder, "as.csv", 0),
                                           "--scores",
                                           "b:fine-tuned=" + scores_file(folder, "bf.csv", 0.1),
                                           "b:scratch=" + scores_file(folder, "bs.csv", 0.05),
                                           "--reference",
                                           "a",
                                           "--out"};
  const auto run = [&](const std::string& out, std::vector<std::string> more) {
    std::vector<std::string> all = arguments;
    all.push_back(folder / out);
    all.insert(all.end(), more.begin(), more.end());
    return metvox_run(all);
  };
  const Outcome paired = run("paired", {});
  ASSERT_EQ(paired.code, 0) << paired.err;
  EXPECT_TRUE(says(paired.out, "architecture: a_vs_b (wilcoxon)"));
  EXPECT_TRUE(says(paired.out, "8/8    greater   0.0039   0.0352*"));
  EXPECT_TRUE(says(paired.err, "4 systems, 8 cases"));
  EXPECT_EQ(read_text(folder / "paired/descriptive.csv").substr(0, 93),
            "system,metric,n,mean,std_population,std_sample,ci95_low,ci95_high,shapiro_w,shapiro_p\na:fine-");
  const CsvTable table = read_csv(folder / "paired/comparison.csv");
  EXPECT_EQ(table.columns,
            (std::vector<std::string>{"comparison", "group", "metric", "mean_a", "mean_b", "a_better_cases", "n_cases",
                                      "test", "alternative", "statistic", "p_value", "p_holm"}));
  EXPECT_EQ(table.rows.size(), 3 * 9 + 9u);
  for (const char* name : {"effects.csv", "omnibus.csv", "notes.csv", "comparison.svg"})
    EXPECT_TRUE(std::filesystem::exists(folder / "paired" / name));

  const Outcome paper = run("paper", {"--mode", "paper", "--json"});
  ASSERT_EQ(paper.code, 0) << paper.err;
  const Json answer = Json::parse(paper.out);
  EXPECT_EQ(answer["mode"], "paper");
  EXPECT_EQ(answer["comparison"].size(), 24u);
  EXPECT_TRUE(answer["comparison"][0]["p_holm"].is_null());
  EXPECT_EQ(answer["omnibus"].size(), 12u);
  EXPECT_TRUE(says(paper.err, "distances"));

  run("again", {});
  for (const char* name : {"descriptive.csv", "comparison.csv", "effects.csv"})
    EXPECT_EQ(read_text(folder / "paired" / name), read_text(folder / "again" / name));
}

TEST(compare, bad_input_is_exit_3_and_writes_nothing) {
  const Path folder = fresh_folder("scores");
  const std::string good = scores_file(folder, "good.csv", 0);
  CsvTable twice = read_csv(good);
  twice.rows.push_back(twice.rows[0]);
  write_csv(folder / "twice.csv", twice);
  for (const std::string bad : {"twice.csv", "missing.csv"}) {
    const Outcome o = metvox_run({"compare", "--scores", "a:fine-tuned=" + good, "a:scratch=" + (folder / bad).string(),
                                  "--out", folder / "out"});
    EXPECT_EQ(o.code, 3) << bad;
    EXPECT_TRUE(says(o.err, bad));
    EXPECT_FALSE(std::filesystem::exists(folder / "out"));
  }
}

TEST(compare, of_many_notes_the_first_are_said) {
  const Path folder = fresh_folder("scores");
  const std::string good = scores_file(folder, "good.csv", 0);
  CsvTable empty = read_csv(good);
  for (auto& row : empty.rows) row[1] = row[2] = row[3] = "nan";
  write_csv(folder / "empty.csv", empty);
  const Outcome o = metvox_run({"compare", "--scores", "a:fine-tuned=" + good,
                                "a:scratch=" + (folder / "empty.csv").string(), "--out", folder / "out"});
  EXPECT_EQ(o.code, 0);
  EXPECT_TRUE(says(o.err, "note: a:scratch: case0: DICE_et: not a number"));
  EXPECT_TRUE(says(o.err, "note: 4 more; all are in"));
  EXPECT_EQ(read_csv(folder / "out/notes.csv").rows.size(), 24u);
  EXPECT_EQ(metvox_run({"compare", "--scores", "a:fine-tuned=" + good, "a:scratch=" + (folder / "empty.csv").string(),
                        "--out", folder / "quiet", "--quiet"})
                .err,
            "");
}

TEST(compare, wrong_usage_is_exit_2) {
  const struct {
    std::vector<std::string> arguments;
    std::string said;
  } cases[] = {
      {{"--out", "x"}, "--scores is missing"},
      {{"--out", "x", "--scores", "a.csv"}, "not of the form MODEL:REGIME=FILE.csv"},
      {{"--out", "x", "--scores", ":scratch=a.csv"}, "not of the form"},
      {{"--out", "x", "--scores", "a:scratch="}, "not of the form"},
      {{"--out", "x", "--scores", "a:tuned=a.csv"}, "\"tuned\" in \"a:tuned=a.csv\" is not a regime"},
      {{"--out", "x", "--scores", "a:scratch=1.csv", "a:scratch=2.csv"}, "a:scratch is given twice"},
      {{"--out", "x", "--scores", "a:scratch=1.csv", "--reference", "a"}, "--scores has no a:fine-tuned"},
      {{"--out", "x", "--scores", "pooled:scratch=1.csv"}, "all models together"},
      {{"--out", "x", "--scores", "a:scratch=1.csv", "--mode", "both"}, "paper, paired"},
  };
  for (const auto& c : cases) {
    std::vector<std::string> all = c.arguments;
    all.insert(all.begin(), "compare");
    const Outcome o = metvox_run(all);
    EXPECT_EQ(o.code, 2) << c.said;
    EXPECT_TRUE(says(o.err, c.said));
  }
}

}  // namespace metvox
