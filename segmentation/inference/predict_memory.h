// SPDX-License-Identifier: Apache-2.0
// What a prediction will hold in memory, known before anything runs, and how to keep within less.
#pragma once
#include "segmentation/inference/predict_cases.h"

namespace metvox {

// Of one case, at most: it may be cropped before it is resampled.
struct CaseNeeds {
  std::string id;
  Int3 voxels{};                                   // of the network's grid
  int64_t runs = 0;                                // of the network
  size_t at_once_bytes = 0, one_by_one_bytes = 0;  // until the network runs, by how the sequences are read
  size_t running_bytes = 0;                        // the case, its sums and its labels while the network runs
  size_t writing_bytes = 0;
};
// Reads the headers of the case's images. Throws Error (Fault::input) where reading them whole would.
CaseNeeds needs_of(const CaseFiles& files, const Predictor& predictor, const ModelFolder& model, bool probabilities);

// Peaks of the process, in bytes. What is there before the first case (the program, its libraries, the weights) is
// measured; the rest is added up.
struct PredictNeeds {
  std::vector<CaseNeeds> cases;  // in their order
  size_t there = 0, ever = 0;    // of the process now, and at most so far
  size_t arena = 0;              // and packed weights: taken on the host when the first case runs, and kept
  size_t peak(bool one_by_one) const;
  const CaseNeeds* largest() const;  // that decides the peak where sequences are read one by one
};

// Must the sequences be read one by one so that the peak stays below `limit_bytes`? Throws Error (Fault::memory) with
// the least that is possible where even that is more.
bool must_read_one_by_one(const PredictNeeds& needs, size_t limit_bytes);

}  // namespace metvox
