// SPDX-License-Identifier: Apache-2.0
// The sequences of a case as preprocessing wants them: one after the other, as often as it asks.
#pragma once
#include <functional>

#include "segmentation/data/dataset.h"

namespace metvox {

struct SequenceSource {
  Geometry geometry;  // of them all
  int64_t count = 0;
  std::function<Tensor(int64_t)> sequence;  // f32 (z, y, x) in file order; not to be changed
};

// Held in memory, all at once.
SequenceSource sequences_of(const CaseImages& images);
// Read anew whenever one is asked for, so that no more than one need be held. Refuses what read_case refuses, when it
// comes to it; `warnings` gets what read_case would say.
SequenceSource sequences_of(const CaseFiles& files, std::vector<std::string>& warnings);

}  // namespace metvox
