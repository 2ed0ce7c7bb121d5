// SPDX-License-Identifier: Apache-2.0
// Scores of cases as the tables that evaluate writes (docs/files.md names the columns).
#pragma once
#include "io/csv.h"
#include "segmentation/evaluation/case_scores.h"

namespace metvox {

// The 19 columns of luumsk/BrainMetaSeg, meta24_compute_metrics.py, where "Hausdorff" is HD95.
CsvTable scores_table(const std::vector<CaseScores>& cases);
// Everything else that a case has one number of; the last column is what notes_of() says.
CsvTable extended_table(const std::vector<CaseScores>& cases);
// A row for every true lesion and every false prediction. A false one has no overlap, Dice, distance or partner.
CsvTable lesions_table(const std::vector<CaseScores>& cases);

}  // namespace metvox
