// SPDX-License-Identifier: Apache-2.0
// report/index.html: one self-contained page about a set of predictions: headline numbers, lesions by size, a picture
// of every case, the missed lesions, scores, configuration; and report/overview.png.
#pragma once
#include <functional>

#include "segmentation/evaluation/scores.h"

namespace metvox {

struct ReportInputs {
  Path predictions, truths, images;  // folders, as predict and evaluate take them
  Path scores;                       // folder that evaluate() wrote
  Path model;                        // model folder for its training curves; may be empty
};

// Numbers of scores.csv and lesions.csv that the page opens with. Lesions are those of region tc.
struct ReportNumbers {
  int64_t cases = 0;
  std::array<double, 3> dice{}, hd95_mm{};  // et, tc, wt: means over the cases where they are finite
  std::array<int64_t, 3> dice_cases{}, hd95_cases{};
  struct SizeBin {
    double from_mm = 0, below_mm = 0;  // equivalent diameter
    int64_t lesions = 0, found = 0, false_positives = 0;
  };
  std::vector<SizeBin> bins;  // [0, 3), [3, 5), [5, 10), [10, inf)
  SizeBin from_8_mm;
  SizeBin all;
};
ReportNumbers report_numbers(const CsvTable& scores, const CsvTable& lesions, const Path& named);

// Writes `out`/index.html and `out`/overview.png. Throws Error (Fault::input) naming the file that is missing; cases
// without images get no picture and are named in the page.
void write_report(const ReportInputs& inputs, const Path& out, const std::function<void(int64_t, int64_t)>& progress);

}  // namespace metvox
