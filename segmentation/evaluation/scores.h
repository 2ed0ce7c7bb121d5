// SPDX-License-Identifier: Apache-2.0
// Predictions against truths, folder against folder: scores.csv (the 19 columns of luumsk/BrainMetaSeg,
// meta24_compute_metrics.py, where "Hausdorff" is HD95), extended.csv, lesions.csv and summary.json. Regions et, tc, wt
// as metastasis_regions().
#pragma once
#include <array>
#include <functional>

#include "io/csv.h"
#include "segmentation/evaluation/lesions.h"
#include "segmentation/evaluation/summary.h"

namespace metvox {

inline constexpr std::array<double, 3> kSurfaceTolerances_mm{0.5, 1, 2};

struct RegionScores {
  Counts counts;
  double hd95_mm = 0, hd100_mm = 0;      // infinite when either mask is empty
  std::array<double, 3> surface_dice{};  // at kSurfaceTolerances_mm
  double true_volume_ml = 0, predicted_volume_ml = 0;
  std::vector<Lesion> lesions;
};

struct CaseScores {
  std::string sample;
  std::array<RegionScores, 3> regions;  // et, tc, wt
};

// Labels u8 (z, y, x) on the grid.
CaseScores score_case(const std::string& sample, const Tensor& prediction, const Tensor& truth, const Geometry& grid);

CsvTable scores_table(const std::vector<CaseScores>& cases);
CsvTable extended_table(const std::vector<CaseScores>& cases);
// A row for every true lesion and every false prediction; a false one has neither overlap nor Dice.
CsvTable lesions_table(const std::vector<CaseScores>& cases);

struct Evaluation {
  int64_t cases = 0;                // evaluated
  std::vector<std::string> faults;  // a sentence for each case that could not be
};

// Pairs the label files of both folders by case, evaluates each pair, writes the four files to `out`. A prediction on
// the truth's world lattice in another axis order is turned to it; on any other grid the case is a fault, as is a case
// that only one folder has, or with labels that `labels` does not define. Throws Error (Fault::input or memory) and
// writes nothing when no case could be evaluated.
Evaluation evaluate(const Path& prediction_dir, const Path& truth_dir, const Labels& labels, const Path& out,
                    const std::function<void(int64_t, int64_t)>& progress);

// Labels for evaluate(): of the dataset.json beside the predictions or the truths, else those of brats_description(),
// which `note` then says.
Labels find_label_names(const Path& prediction_dir, const Path& truth_dir, std::string* note = nullptr);

// Writes the summary of all predictions in a folder there as summary.json: what ends a fold's training. Truths without
// a prediction are passed over. Returns a sentence for each prediction that could not be evaluated; where none could,
// nothing is written.
std::vector<std::string> evaluate_folder(const Path& prediction_dir, const Path& truth_dir, const Labels& labels);

}  // namespace metvox
