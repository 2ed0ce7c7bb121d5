// SPDX-License-Identifier: Apache-2.0
// What `metvox check` says. Files are read and judged by the functions that plan, preprocess and predict use: what
// those would refuse is a fault here, what they would warn of is a warning. A fault never keeps the next file from
// being looked at.
#pragma once
#include <functional>

#include "segmentation/data/dataset.h"

namespace metvox {

struct CheckReport {
  int64_t cases = 0;                          // found, whole or not
  std::vector<std::string> faults, warnings;  // sentences
};
using CheckProgress = std::function<void(int64_t done, int64_t total)>;

// A raw data set: dataset.json, or labels under BraTS names.
bool is_dataset(const Path& dir);
CheckReport check_dataset(const Path& dir, const CheckProgress& progress = {});

// What to predict: a folder of cases with the sequences T1C, T1N, T2F and T2W, flat or a folder a case. Where no file
// has the name of a sequence, every file is a case of its own; so it is with files given by name, of which those of one
// case must lie on one grid. Files named -seg are labels.
CheckReport check_inputs(const std::vector<Path>& paths, const CheckProgress& progress = {});

}  // namespace metvox
