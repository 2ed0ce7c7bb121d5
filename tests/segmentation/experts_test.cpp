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
      read_expert_answers(path, {key_});
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::input);
      return e.what();
    }
    return "";
  }

  static std::string no_files(const std::string&, const std::string&) { return ""; }
  static ExpertKey make_key(const std::vector<std::string>& systems, const std::vector<std::string>& samples,
                            uint64_t seed, const PredictionHash& hash = no_files) {
    return make_expert_key("study", systems, samples, seed, hash);
  }

  ExpertKey key_ = make_key({"m-fine-tuned", "m-scratch"}, {"a", "b"}, 3);
  Path study_;
};

}  // namespace

TEST_F(experts, letters_are_shuffled_by_the_seed_and_read_back) {
  std::vector<std::string> samples;
  for (int i = 0; i < 200; ++i) samples.push_back("case" + std::to_string(i));
  const ExpertKey key = make_key({"x", "y"}, samples, 7);
  int first = 0;
  for (const auto& order : key.order) {
    EXPECT_NE(order[0].system, order[1].system);
    first += order[0].system == "x";
  }
  EXPECT_NEAR(first, 100, 4 * std::sqrt(50));
  EXPECT_EQ(make_key({"x", "y"}, samples, 7).order, key.order);
  EXPECT_NE(make_key({"x", "y"}, samples, 8).order, key.order);
  EXPECT_NE(make_key({"x", "y"}, samples, 8).form, key.form);
  const auto hash = [](const std::string& system, const std::string& sample) { return system + sample; };
  EXPECT_NE(make_key({"x", "y"}, samples, 7, hash).form, key.form);
  const ExpertKey read = read_expert_key(study_ / "experts" / "key.csv");
  EXPECT_EQ(read.form, key_.form);
  EXPECT_EQ(read.order, key_.order);
  EXPECT_EQ(read.samples, key_.samples);
  EXPECT_EQ(read.systems, key_.systems);
}

TEST_F(experts, answers_get_their_systems_back) {
  const auto ratings = gather_expert_answers({answers("one", {5, 0, 3, 4}), answers("two", {4, 2, 3, 4})}, study_);
  ASSERT_EQ(ratings.size(), 3 + 4u);  // what is not answered is no judgement
  EXPECT_EQ(ratings[0].system, key_.order[0][0].system);
  EXPECT_EQ(ratings[2].system, key_.order[1][1].system);
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
  EXPECT_THROW(read_expert_answers(study_ / "torn.csv", {key_}), Error);
  EXPECT_THROW(read_expert_answers(study_ / "absent.csv", {key_}), Error);
  EXPECT_THROW(read_expert_answers(answers("empty", {0, 0, 0, 0}), {key_}), Error);
  write_text(study_ / "huge.csv", std::string((4 << 20) + 1, 'x'));
  EXPECT_THROW(read_expert_answers(study_ / "huge.csv", {key_}), Error);
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
  EXPECT_EQ(read_expert_answers(path, {key_})[0].answers[7], "[31m line line");
}

TEST_F(experts, a_form_is_stale_where_the_study_is_another) {
  const auto then = [](const std::string& system, const std::string& sample) { return system + sample; };
  const auto now = [&](const std::string& system, const std::string& sample) {
    return sample == "b" && system == "y" ? "another" : then(system, sample);
  };
  const ExpertKey key = make_key({"x", "y"}, {"a", "b", "c"}, 3, then);
  EXPECT_TRUE(stale_parts(key, {"a", "b", "c"}, then).empty());
  const std::vector<std::string> expected{"d is not in it", "b was predicted anew by y", "c has no scores any more"};
  EXPECT_EQ(stale_parts(key, {"a", "b", "d"}, now), expected);
}

TEST_F(experts, a_form_is_begun_once_something_is_written_into_it) {
  const Path form = study_ / "experts" / "form";
  EXPECT_FALSE(form_is_begun(key_, study_));
  make_folder(form);
  CsvTable table = blank_form(key_);
  write_csv(form / "form.csv", table);
  for (const char* name : {"form.html", "a_A.nii.gz", "b_B.nii.gz"}) write_text(form / name, "");
  EXPECT_FALSE(form_is_begun(key_, study_));
  write_text(form / "answers-me.csv", "");
  EXPECT_TRUE(form_is_begun(key_, study_));
  fs::remove(form / "answers-me.csv");
  table.rows[0][4] = "5";
  write_csv(form / "form.csv", table);
  EXPECT_TRUE(form_is_begun(key_, study_));
  write_csv(form / "form.csv", blank_form(key_));
  EXPECT_FALSE(form_is_begun(key_, study_));
  gather_expert_answers({answers("one", {5, 0, 3, 4})}, study_);
  EXPECT_TRUE(form_is_begun(key_, study_));
}

// The key that lies in experts/ is a newer one; answers to the older one are read, and count where the study still
// predicts what they are about.
TEST_F(experts, answers_to_an_older_form_are_read) {
  const Path old = answers("one", {5, 1, 3, 4});
  const auto hash = [](const std::string& system, const std::string& sample) {
    return sample == "b" && system == "m-scratch" ? "another" : "";
  };
  const ExpertKey newer = make_key({"m-fine-tuned", "m-scratch"}, {"a", "b"}, 3, hash);
  make_folder(study_ / "experts" / "keys");
  write_expert_key(newer, study_ / "experts" / "key.csv");
  EXPECT_THROW(gather_expert_answers({old}, study_), Error);
  write_expert_key(key_, study_ / "experts" / "keys" / (key_.form + ".csv"));
  auto ratings = gather_expert_answers({old}, study_);
  ASSERT_EQ(ratings.size(), 4u);
  const auto outdated = take_outdated(ratings, hash);
  ASSERT_EQ(outdated.size(), 1u);
  EXPECT_EQ(outdated[0].sample + outdated[0].system, "bm-scratch");
  EXPECT_EQ(ratings.size(), 3u);
  // The same expert about the same outline in both forms says two things.
  CsvTable table = read_csv(old);
  for (auto& row : table.rows) row[0] = newer.form;
  EXPECT_THROW(gather_expert_answers({old, written("again", table)}, study_), Error);
  table.rows.assign(1, table.rows[newer.order[1][0].system == "m-scratch" ? 2 : 3]);
  EXPECT_EQ(gather_expert_answers({old, written("again", table)}, study_).size(), 5u);
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
