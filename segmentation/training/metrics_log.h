// SPDX-License-Identifier: Apache-2.0
// What is known of each epoch: a line of metrics.jsonl, the history in a checkpoint, the curves of progress.png.
#pragma once
#include <limits>
#include <vector>

#include "io/json.h"

namespace metvox {

// What a clock says of an epoch: alone not the same in a run that is repeated. NaN: not known any more.
struct EpochTimes {
  double started = std::numeric_limits<double>::quiet_NaN(), seconds = started;  // Unix time; how long it took
  double step_ms = started, wait_ms = started;  // of an iteration: computing, waiting for the loader
};

struct EpochRecord {
  int64_t epoch = 0;  // from 0; files, charts and messages count from 1
  double lr = 0;
  double train_loss = 0, val_loss = 0;  // means over the batches
  std::vector<double> dice;             // pseudo-Dice of each target; NaN where it never occurred
  double mean_dice = 0, ema_dice = 0;
  EpochTimes times;
};

// Without the times. Keys: epoch, lr, train_loss, val_loss, dice {TARGET: value}, mean_dice, ema_dice.
Json to_json(const EpochRecord& record, const std::vector<std::string>& targets);
EpochRecord record_from_json(const Json& json, const Path& where);

// A line an epoch: the keys above and those of its times (started, seconds, step_ms, wait_ms).
void write_metrics(const Path& path, const std::vector<EpochRecord>& history, const std::vector<std::string>& targets);
// Takes the times of the history's epochs from such a file, as far as they can be read there.
void read_times(const Path& path, std::vector<EpochRecord>& history);
// Three panels: losses with pseudo-Dice and its moving average, seconds an epoch, learning rate.
void write_progress_chart(const Path& path, const std::vector<EpochRecord>& history);

}  // namespace metvox
