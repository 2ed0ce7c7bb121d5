// SPDX-License-Identifier: Apache-2.0
// Does fine-tuning help, and which model is best: the statistics of a study's score files.
//
// paper: as published (Luu et al. 2024, luumsk/BrainMetaSeg notebooks/statistical_tests.ipynb): Mann-Whitney U of all
// models' cases, fine-tuned against scratch, and of both regimes' cases, model against model; "greater" for every
// metric, also for distances; no correction. Means have Student's intervals.
// paired: Wilcoxon's signed-rank test by case, exact; fine-tuned better than scratch, one-sided in each metric's
// direction, of each model and of the models' mean (Holm within each); the reference against each other fine-tuned
// model, two-sided (Holm over all). Means have BCa bootstrap intervals. DICE, Hausdorff and Sensitivity are tested;
// Specificity is 1 but for the number of background voxels.
#pragma once
#include "io/json.h"
#include "segmentation/study/intervals.h"
#include "segmentation/study/study_scores.h"

namespace metvox {

enum class CompareMode { paper, paired };

struct Descriptive {
  std::string system, metric;
  int64_t n = 0;  // finite values; the others have notes
  double mean = 0, std_population = 0, std_sample = 0;
  Interval ci95;
  TestResult shapiro;
};

// One test of a (better where `alternative` says) against b. A pair with a NaN is left out.
struct PairTest {
  std::string comparison, group, metric;
  double mean_a = 0, mean_b = 0;
  int64_t a_better_cases = 0, n_cases = 0;
  std::string test;
  Alternative alternative = Alternative::two_sided;
  TestResult result;
  double p_holm = 0;  // NaN in paper mode
  // What the p value does not say. In paper mode, where cases are not independent, all NaN but the first.
  double rank_biserial = 0;  // positive where a is better
  int64_t equal_cases = 0;
  Interval a_better_share95;         // Wilson's
  double mean_difference = 0;        // a - b
  Interval difference95;             // BCa
  double detectable_difference = 0;  // in size, see intervals.h
  double smallest_p = 0;             // that these n_cases - equal_cases pairs can give
};

// Paper mode: do the models differ at all? Both regimes' cases of each model.
struct OmnibusTest {
  std::string groups, metric;
  int64_t n_cases = 0;  // of each group
  TestResult kruskal_wallis;
};

// How often a case is the worst one of a system, counted over systems and the 12 columns DICE, Hausdorff, Sensitivity
// and Specificity; of several equally bad ones the first (luumsk/BrainMetaSeg, notebooks/result_analysis.ipynb).
struct CaseMarks {
  std::string sample;
  int64_t marks = 0;
  std::array<int64_t, 3> by_region{};  // et, tc, wt
};
// The most marks first; every case is there.
std::vector<CaseMarks> challenging_cases(const StudyScores& scores);

struct StudyComparison {
  CompareMode mode = CompareMode::paired;
  int64_t cases = 0;
  std::vector<Descriptive> descriptive;
  std::vector<PairTest> tests;
  std::vector<OmnibusTest> omnibus;
  std::vector<CaseMarks> challenging;
  std::vector<Note> notes;
};

// reference: a model, or empty: paper mode then compares every two models, paired mode none. The seed is the
// bootstrap's.
StudyComparison compare(const StudyScores& scores, CompareMode mode, const std::string& reference, uint64_t seed);

// descriptive.csv, comparison.csv, effects.csv, omnibus.csv, challenging.csv and notes.csv; in paired mode
// comparison.svg too.
void write_comparison(const StudyComparison& comparison, const Path& out);
Json to_json(const StudyComparison& comparison);

}  // namespace metvox
