// SPDX-License-Identifier: Apache-2.0
// The sequences of a case as preprocessing wants them: one after the other, as often as it asks.
#pragma once
#include <functional>

#include "segmentation/data/dataset.h"

namespace metvox {

struct SequenceSource {
  Geometry geometry;  // of them all
  int64_t count = 0;
  std::function<Tensor(int64_t)> sequence;  // f32 (z, y, x) in file order; not to be changed, but for
  Tensor memory = {};                       // (C, z, y, x), where it holds them all and may be given another use
};

// Held in memory, all at once.
SequenceSource sequences_of(const CaseImages& images);
SequenceSource sequences_of(CaseImages&& images);  // whose memory may be given another use
// Read anew whenever one is asked for, so that no more than one need be held. Refuses what read_case refuses, when it
// comes to it; `warnings` gets what read_case would say.
SequenceSource sequences_of(const CaseFiles& files, std::vector<std::string>& warnings);

}  // namespace metvox
