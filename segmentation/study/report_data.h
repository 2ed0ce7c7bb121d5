// SPDX-License-Identifier: Apache-2.0
// What the page of a study is made from, read once.
#pragma once
#include "segmentation/evaluation/report.h"
#include "segmentation/evaluation/svg.h"
#include "segmentation/study/compare.h"
#include "segmentation/study/jobs.h"
#include "segmentation/training/metrics_log.h"

namespace metvox {

// A lesion of the truth (region tc), and which systems found it: the lesions.csv of all have the same ones.
struct StudyLesion {
  std::string sample;
  int64_t id = 0;  // its number among the components of the case's truth, from 1
  std::array<double, 3> centre_mm{};
  double diameter_mm = 0;
  std::vector<bool> found;  // by system
};

struct StudyResult {
  StudySystem system;
  ReportNumbers numbers;
  Json overview;  // of summary.json: what evaluate says of all cases together
};

// One training.
struct StudyTraining {
  std::string regime, model, fold;  // regime: pretrained, fine-tuned, scratch
  std::vector<EpochRecord> history;
  Json facts;                                                         // of its checkpoint; null before there is one
  double validation_dice = std::numeric_limits<double>::quiet_NaN();  // of the fold's validation: mean over regions
};

struct StudyResults {
  Path study;
  StudyConfig config;
  std::vector<StudyResult> systems;  // those with scores
  std::vector<std::string> missing;  // the names of the others
  StudyScores scores;
  StudyComparison paired, paper;
  std::vector<StudyLesion> lesions;  // the smallest first
  std::vector<StudyTraining> trainings;

  const StudyResult* find(const std::string& model, Regime regime) const;
  // Scores of a system by sample, in the order of scores.samples.
  const std::vector<double>& values(const StudyResult& result, const std::string& metric) const;
  const Descriptive& descriptive(const StudyResult& result, const std::string& metric) const;
};

// Throws Error (Fault::input) when no system has scores.
StudyResults read_study_results(const StudyConfig& config, const Path& study);

// Pieces that several parts use.
// The smallest p Holm that the cases of these tests (adjusted together) can give, however large the differences; NaN
// without tests. Where it is not below 0.05, nothing can be shown.
double smallest_p_holm(const std::vector<PairTest>& tests);
// Those of a comparison, of one group or of all (empty).
std::vector<PairTest> tests_of(const StudyComparison& c, const std::string& comparison, const std::string& group);
std::string regime_colour(const std::string& regime);
std::string side_by_side(const std::vector<std::string>& plots);
// A number some levels down, such as "/froc/tc"; NaN where it is not there, or not a number.
double number_at(const Json& json, const std::string& pointer);
// Of a list some levels down a point an entry, by two of its numbers; those that are not finite are left out.
std::vector<svg::Point> points_at(const Json& json, const std::string& list, const std::string& x,
                                  const std::string& y);

// Parts of the page. Each is whole HTML, or empty where its data is not there.
std::string scores_section(const StudyResults& r);       // tables and figures 1 and 2
std::string tests_section(const StudyResults& r);        // fine-tuned against scratch, models against each other
std::string detection_section(const StudyResults& r);    // lesions by size
std::string lesionwise_section(const StudyResults& r);   // the BraTS rules, FROC, agreement of volumes
std::string calibration_section(const StudyResults& r);  // reliability diagrams, where probabilities were kept
std::string learning_section(const StudyResults& r);     // curves, validation of the folds
std::string making_section(const StudyResults& r);       // plans, configuration, seeds, hashes, times
std::string experts_section(const StudyResults& r);      // what experts answered
// With pictures (report_pictures.h).
class StudyCases;
std::string missed_section(const StudyResults& r, StudyCases& cases);    // lesions that a system missed
std::string necrosis_section(const StudyResults& r, StudyCases& cases);  // the case where systems differ most about it
std::string cases_section(const StudyResults& r, StudyCases& cases);     // case by case, the challenging ones painted

}  // namespace metvox
