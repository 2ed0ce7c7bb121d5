// SPDX-License-Identifier: Apache-2.0
// What preprocessing a case with its labels will hold, known before anything runs, and how to keep within less.
#pragma once
#include "segmentation/data/preprocess.h"

namespace metvox {

// Of one case, at most: it may be cropped before it is resampled.
struct PreprocessNeeds {
  std::string id;
  size_t at_once_bytes = 0, one_by_one_bytes = 0;  // by how the sequences are read
};
// Reads the headers of the case's images. Throws Error (Fault::input) where reading them whole would.
PreprocessNeeds preprocess_needs(const CaseFiles& files, const Plans& plans,
                                 const std::vector<const Configuration*>& configurations, const Labels& labels);

// Peaks of the process, in bytes: `there` is measured, the rest is added up.
struct PreprocessPeaks {
  size_t at_once = 0, one_by_one = 0;
  std::string largest;  // the case that decides the latter
};
PreprocessPeaks preprocess_peaks(const std::vector<PreprocessNeeds>& cases, size_t there);

// Must the sequences be read one by one so that the peak stays below `limit_bytes`? Throws Error (Fault::memory) with
// the least that is possible where even that is more.
bool must_read_one_by_one(const PreprocessPeaks& peaks, size_t limit_bytes);

}  // namespace metvox
