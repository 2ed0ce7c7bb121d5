// SPDX-License-Identifier: Apache-2.0
// How many lesions were found, by their size: recall with Wilson's 95 % interval, false lesions by theirs, and what a
// patient has to expect. Every lesion counts, of one voxel too.
#pragma once
#include <vector>

#include "segmentation/evaluation/lesions.h"
#include "segmentation/evaluation/moments.h"

namespace metvox {

enum class LesionSize {
  longest_axial,  // Diameters::longest_mm
  ball            // diameter of the ball of the lesion's volume
};

struct SizeBin {
  double from_mm = 0, below_mm = 0;
  int64_t lesions = 0, found = 0;  // true ones
  int64_t false_positives = 0;     // predicted ones of this size
  double recall() const;           // NaN for none of none, as the next three
  Interval recall_interval() const { return wilson_interval(found, lesions); }
  double precision() const;  // found / (found + false)
  double f1() const;         // 2 found / (2 found + missed + false)
};

struct Detection {
  std::vector<SizeBin> bins;  // [0, 3), [3, 5), [5, 10), [10, inf) mm
  SizeBin all;
  int64_t cases = 0;
  double false_positives_mean = 0, false_positives_median = 0;  // a case
  int64_t cases_with_lesions = 0, cases_all_found = 0;          // of the former
  double recall_per_case = 0;                                   // mean over the cases with lesions; NaN without any
};

// Lesions of one region, a list a case.
Detection detection_by_size(const std::vector<std::vector<Lesion>>& cases, LesionSize size);

}  // namespace metvox
