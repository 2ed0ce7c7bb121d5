// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/experts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <set>

#include "io/csv.h"
#include "segmentation/evaluation/agreement.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kColumns{"form",          "expert",   "sample",         "letter",
                                        "overall",       "boundary", "missed_lesions", "missed_where",
                                        "false_lesions", "necrosis", "usable",         "comment"};

class experts : public testing::Test {
 protected:
  void SetUp() override {
    study_ = Path(testing::TempDir()) / ("metvox-experts-" + std::to_string(getpid()));
    fs::remove_all(study_);
    make_folder(study_ / "experts");
    write_expert_key(key_, study_ / "experts" / "key.csv");
  }
  void TearDown() override { fs::remove_all(study_); }

  // Everybody's overall grades of A and B of both cases; 0 is no answer.
  Path answers(const std::string& name, const std::vector<int>& grades) const {
    CsvTable table{kColumns, {}};
    for (size_t i = 0; i < grades.size(); ++i) {
      table.rows.push_back({key_.form, name, key_.samples[i / 2], i % 2 ? "B" : "A"});
      table.rows.back().resize(kColumns.size());
      if (grades[i]) table.rows.back()[4] = std::to_string(grades[i]);
    }
    return written(name, table);
  }
  Path written(const std::string& name, const CsvTable& table) const {
    write_csv(study_ / (name + ".csv"), table);
    return study_ / (name + ".csv");
  }
  // What is said of a filled form in which a cell is something else.
  std::string refusal(size_t row, size_t column, const std::string& cell) const {
    const Path path = answers("hostile", {1, 2, 3, 4});
    CsvTable table = read_csv(path);
    table.rows[row][column] = cell;
    write_csv(path, table);
    try {
      read_expert_answers(path, key_);
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::input);
      return e.what();
    }
    return "";
  }

  ExpertKey key_ = make_expert_key("study", {"m-fine-tuned", "m-scratch"}, {"a", "b"}, 3);
  Path study_;
};

}  // namespace

TEST_F(experts, letters_are_shuffled_by_the_seed_and_read_back) {
  std::vector<std::string> samples;
  for (int i = 0; i < 200; ++i) samples.push_back("case" + std::to_string(i));
  const ExpertKey key = make_expert_key("study", {"x", "y"}, samples, 7);
  int first = 0;
  for (const auto& order : key.order) {
    EXPECT_EQ(std::set<std::string>(order.begin(), order.end()).size(), 2u);
    first += order[0] == "x";
  }
  EXPECT_NEAR(first, 100, 4 * std::sqrt(50));
  EXPECT_EQ(make_expert_key("study", {"x", "y"}, samples, 7).order, key.order);
  EXPECT_NE(make_expert_key("study", {"x", "y"}, samples, 8).order, key.order);
  EXPECT_NE(make_expert_key("study", {"x", "y"}, samples, 8).form, key.form);
  const ExpertKey read = read_expert_key(study_ / "experts" / "key.csv");
  EXPECT_EQ(read.form, key_.form);
  EXPECT_EQ(read.order, key_.order);
  EXPECT_EQ(read.samples, key_.samples);
  EXPECT_EQ(read.systems, key_.systems);
}

TEST_F(experts, answers_get_their_systems_back) {
  const auto ratings = gather_expert_answers({answers("one", {5, 0, 3, 4}), answers("two", {4, 2, 3, 4})}, study_);
  ASSERT_EQ(ratings.size(), 3 + 4u);  // what is not answered is no judgement
  EXPECT_EQ(ratings[0].system, key_.order[0][0]);
  EXPECT_EQ(ratings[2].system, key_.order[1][1]);
  EXPECT_EQ(ratings[2].answers[0], "4");
  const auto read = read_expert_ratings(study_);
  ASSERT_EQ(read.size(), ratings.size());
  for (size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i].expert, ratings[i].expert);
    EXPECT_EQ(read[i].system, ratings[i].system);
    EXPECT_EQ(read[i].answers, ratings[i].answers);
  }
  const CsvTable agreement = read_csv(study_ / "experts" / "agreement.csv");
  EXPECT_EQ(agreement.rows[0][2], "overall");
  EXPECT_EQ(agreement.rows[0][3], "3");
}

TEST_F(experts, what_is_no_answer_is_refused) {
  EXPECT_EQ(refusal(0, 4, "5"), "");
  EXPECT_EQ(refusal(3, 4, ""), "");
  const struct {
    size_t column;
    std::string cell, expected;
  } wrong[] = {{0, "other", "answers form"},
               {1, "", "name is missing"},
               {1, std::string(81, 'n'), "longer than"},
               {1, "another", "a file is one expert's"},
               {2, "../c", "no case"},
               {3, "C", "no prediction"},
               {3, "A", "twice"},
               {4, "0", "a grade from 1 to 5"},
               {4, "4.5", "a grade"},
               {4, "-1", "a grade"},
               {4, "nan", "a grade"},
               {6, "1e9", "a number from 0 to 999"},
               {6, "-3", "a number"},
               {7, std::string(2001, 'x'), "at most"},
               {9, "maybe", "one of yes, no, none"},
               {10, "none", "one of yes, no"}};
  for (const auto& w : wrong) {
    const std::string said = refusal(1, w.column, w.cell);
    EXPECT_NE(said.find(w.expected), std::string::npos) << w.column << " " << w.cell << ": " << said;
    EXPECT_NE(said.find("row 2"), std::string::npos) << said;
  }
  write_text(study_ / "torn.csv", "form,expert\n\"");
  EXPECT_THROW(read_expert_answers(study_ / "torn.csv", key_), Error);
  EXPECT_THROW(read_expert_answers(study_ / "absent.csv", key_), Error);
  EXPECT_THROW(read_expert_answers(answers("empty", {0, 0, 0, 0}), key_), Error);
  write_text(study_ / "huge.csv", std::string((4 << 20) + 1, 'x'));
  EXPECT_THROW(read_expert_answers(study_ / "huge.csv", key_), Error);
  const Path one = answers("one", {1, 1, 1, 1});
  EXPECT_THROW(gather_expert_answers({one, one}, study_), Error);
  EXPECT_FALSE(fs::exists(study_ / "experts" / "ratings.csv"));
  fs::remove(study_ / "experts" / "key.csv");
  EXPECT_THROW(gather_expert_answers({one}, study_), Error);
}

TEST_F(experts, control_characters_become_spaces) {
  const Path path = answers("one", {1, 2, 3, 4});
  CsvTable table = read_csv(path);
  table.rows[0][11] = "\x1b[31m line\nline ";
  write_csv(path, table);
  EXPECT_EQ(read_expert_answers(path, key_)[0].answers[7], "[31m line line");
}

// By hand. Grades 1 2 3 against 1 2 4: squares 0, 0, 1; of every two 0 1 9, 1 0 4, 4 1 1.
TEST_F(experts, kappa_by_hand) {
  EXPECT_DOUBLE_EQ(cohen_kappa(std::vector<double>{1, 2, 3}, std::vector<double>{1, 2, 4}, KappaWeights::quadratic),
                   1 - (1. / 3) / (21. / 9));
  // Yes, yes, no, no against yes, no, no, no: 3 of 4 equal, by chance 1/2 1/4 + 1/2 3/4.
  EXPECT_DOUBLE_EQ(cohen_kappa(std::vector<double>{0, 0, 1, 1}, std::vector<double>{0, 1, 1, 1}, KappaWeights::none),
                   .5);
  EXPECT_DOUBLE_EQ(cohen_kappa(1, 1, 0, 2), .5);
  EXPECT_TRUE(std::isnan(cohen_kappa(std::vector<double>{2, 2}, std::vector<double>{2, 2}, KappaWeights::quadratic)));
  EXPECT_DOUBLE_EQ(share_equal(std::vector<double>{0, 0, 1, 1}, std::vector<double>{0, 1, 1, 1}), .75);
}

TEST_F(experts, agreement_is_of_what_both_judged) {
  const auto ratings = gather_expert_answers({answers("one", {5, 1, 3, 0}), answers("two", {4, 1, 3, 2})}, study_);
  const auto all = expert_agreement(ratings);
  ASSERT_EQ(all.size(), 6u);  // the questions that are no text
  EXPECT_EQ(all[0].question, "overall");
  EXPECT_EQ(all[0].n, 3);
  EXPECT_DOUBLE_EQ(all[0].equal, 2. / 3);
  // Squares of every two: 5 against 4 1 3: 1 16 4; 1: 9 0 4; 3: 1 4 0.
  EXPECT_DOUBLE_EQ(all[0].kappa, 1 - (1. / 3) / (39. / 9));
  EXPECT_EQ(all[1].n, 0);
}

}  // namespace metvox
