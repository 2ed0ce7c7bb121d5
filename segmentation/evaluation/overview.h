// SPDX-License-Identifier: Apache-2.0
// What evaluate says of all cases together, in summary.json beside what nnU-Net writes there: means with the number of
// cases behind them, detection by lesion size, FROC, calibration, agreement of sizes.
#pragma once
#include "io/json.h"
#include "segmentation/evaluation/calibration.h"
#include "segmentation/evaluation/detection.h"
#include "segmentation/evaluation/froc.h"
#include "segmentation/evaluation/score_tables.h"

namespace metvox {

// `scores` and `extended`: the tables of the cases. `froc`: by region, empty where there were no probabilities.
Json overview_json(const std::vector<CaseScores>& cases, const CsvTable& scores, const CsvTable& extended,
                   const Json& froc);
Json detection_json(const Detection& detection);
Json froc_json(const Froc& froc);
// By region, of all cases together.
Json calibration_json(const std::vector<CaseCalibration>& cases);

}  // namespace metvox
