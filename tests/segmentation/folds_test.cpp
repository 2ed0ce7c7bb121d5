// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/folds.h"

#include <gtest/gtest.h>

#include "tests/support/fresh_folder.h"

namespace metvox {
namespace {

using Sets = std::vector<std::vector<int64_t>>;

std::vector<std::string> numbered(int n) {
  std::vector<std::string> ids;
  for (int i = 0; i < n; ++i) ids.push_back(sentence("case_", i / 10, i % 10));
  return ids;
}

}  // namespace

// Vectors of scikit-learn's KFold(5, shuffle=True, random_state=12345).
TEST(folds, kfold_matches_scikit_learn) {
  EXPECT_EQ(
      kfold(26, 5, 12345),
      (Sets{{3, 8, 13, 16, 20, 22}, {10, 12, 15, 18, 19}, {0, 6, 7, 11, 21}, {14, 17, 23, 24, 25}, {1, 2, 4, 5, 9}}));
  EXPECT_EQ(kfold(10, 5, 12345), (Sets{{0, 7}, {3, 9}, {4, 6}, {1, 8}, {2, 5}}));
}

TEST(folds, one_case_a_patient_equals_the_plain_split) {
  const auto ids = numbered(26);
  const auto by_patient = make_folds(ids, GroupBy::patient), plain = make_folds(ids, GroupBy::none);
  ASSERT_EQ(by_patient.size(), 5u);
  for (size_t f = 0; f < 5; ++f) {
    EXPECT_EQ(by_patient[f].val, plain[f].val);
    EXPECT_EQ(by_patient[f].train.size() + by_patient[f].val.size(), 26u);
  }
  EXPECT_EQ(plain[0].val, (std::vector<std::string>{"case_03", "case_08", "case_13", "case_16", "case_20", "case_22"}));
}

TEST(folds, time_points_of_a_patient_stay_together) {
  std::vector<std::string> ids;
  for (int p = 10; p < 20; ++p)
    for (int t = 0; t < 3; ++t) ids.push_back(sentence("BraTS-MET-000", p, "-00", t));
  for (const Fold& f : make_folds(ids, GroupBy::patient)) {
    EXPECT_EQ(f.val.size(), 6u);
    for (const std::string& v : f.val)
      for (const std::string& t : f.train) EXPECT_NE(v.substr(0, 15), t.substr(0, 15));
  }
}

TEST(folds, the_users_splits_are_honoured_and_checked) {
  const Path dir = fresh_folder("folds_users_splits");
  const auto ids = numbered(6);
  write_text(dir / "splits_final.json", R"([{"train": ["case_00", "case_01"], "val": ["case_05"]}])");
  const ChosenFold chosen = choose_fold(dir / "splits_final.json", ids, "0", GroupBy::patient);
  EXPECT_EQ(chosen.fold.val, (std::vector<std::string>{"case_05"}));
  EXPECT_EQ(chosen.left_out, (std::vector<std::string>{"case_02", "case_03", "case_04"}));
  EXPECT_TRUE(chosen.listed);
  EXPECT_TRUE(chosen.to_write.empty());
  EXPECT_FALSE(choose_fold(dir / "splits_final.json", ids, "1", GroupBy::patient).listed);
  write_text(dir / "splits_final.json", R"([{"train": ["case_00", "other"], "val": ["case_05"]}])");
  EXPECT_THROW(choose_fold(dir / "splits_final.json", ids, "0", GroupBy::patient), Error);
}

TEST(folds, all_and_numbers_beyond_the_file) {
  const Path dir = fresh_folder("folds_beyond");
  const auto ids = numbered(10);
  EXPECT_EQ(choose_fold(dir / "splits_final.json", ids, "all", GroupBy::patient).fold.val, ids);
  const ChosenFold beyond = choose_fold(dir / "splits_final.json", ids, "7", GroupBy::patient);
  EXPECT_EQ(beyond.to_write.size(), 5u);
  EXPECT_FALSE(std::filesystem::exists(dir / "splits_final.json"));  // choosing writes nothing
  EXPECT_EQ(beyond.fold.train.size(), 8u);
  EXPECT_EQ(beyond.fold.val.size(), 2u);
  EXPECT_NE(beyond.fold.val, choose_fold(dir / "splits_final.json", ids, "8", GroupBy::patient).fold.val);
  EXPECT_THROW(choose_fold(dir / "splits_final.json", ids, "1x", GroupBy::patient), Error);
  EXPECT_EQ(choose_fold(dir / "splits_final.json", ids, "00", GroupBy::patient).name, "0");
}

}  // namespace metvox
