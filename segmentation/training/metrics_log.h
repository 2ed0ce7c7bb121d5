// SPDX-License-Identifier: Apache-2.0
// What is known of each epoch: a line of metrics.jsonl, the history in a checkpoint, the curves of progress.png.
#pragma once
#include <vector>

#include "io/json.h"

namespace metvox {

struct EpochRecord {
  int64_t epoch = 0;  // from 0
  double lr = 0;
  double train_loss = 0, val_loss = 0;  // means over the batches
  std::vector<double> dice;             // pseudo-Dice of each target; NaN where it never occurred
  double mean_dice = 0, ema_dice = 0;
  double started = 0, seconds = 0;  // Unix time
  double step_ms = 0, wait_ms = 0;  // of an iteration: computing, waiting for the loader
};

// Keys: epoch, lr, train_loss, val_loss, dice {TARGET: value}, mean_dice, ema_dice, started, seconds, step_ms, wait_ms.
Json to_json(const EpochRecord& record, const std::vector<std::string>& targets);
EpochRecord record_from_json(const Json& json, const Path& where);

void write_metrics(const Path& path, const std::vector<EpochRecord>& history, const std::vector<std::string>& targets);
// Three panels: losses with pseudo-Dice and its moving average, seconds an epoch, learning rate.
void write_progress_chart(const Path& path, const std::vector<EpochRecord>& history);

}  // namespace metvox
