// SPDX-License-Identifier: Apache-2.0
// Checkpoints: everything that the rest of a run depends on (segmentation/networks/model.h says how it lies in the
// file).
#pragma once
#include <limits>

#include "segmentation/training/learner.h"
#include "segmentation/training/metrics_log.h"

namespace metvox {

// Where a run stands between two epochs.
struct TrainingState {
  std::vector<EpochRecord> history;  // as many as there are finished epochs
  double ema_dice = std::numeric_limits<double>::quiet_NaN(), best_ema = ema_dice;
  int64_t epoch() const { return static_cast<int64_t>(history.size()); }
};

// What is written beside the weights: `facts` says which model and how it is trained (network, loss, configuration,
// fold, seed, ...).
struct CheckpointFacts {
  Json facts, plans, dataset;
  std::vector<std::string> targets;  // names for the history
};

void write_checkpoint(const Path& path, Learner& learner, const TrainingState& state, const CheckpointFacts& facts);

struct ResumedRun {
  TrainingState state;
  Json facts;
};
// Fills weights, optimizer and state. Throws Error (Fault::input) naming what is missing or does not fit.
ResumedRun read_checkpoint(const Path& path, Learner& learner);

}  // namespace metvox
