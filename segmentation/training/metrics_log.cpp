// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/metrics_log.h"

#include <limits>
#include <sstream>

namespace metvox {
namespace {

constexpr std::pair<const char*, double EpochTimes::*> kTimes[] = {{"started", &EpochTimes::started},
                                                                   {"seconds", &EpochTimes::seconds},
                                                                   {"step_ms", &EpochTimes::step_ms},
                                                                   {"wait_ms", &EpochTimes::wait_ms}};

double number(const Json& value) {
  return value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

double number(const Json& json, const char* key, const Path& where) { return number(get<Json>(json, key, where)); }

}  // namespace

Json to_json(const EpochRecord& r, const std::vector<std::string>& targets) {
  Json dice = Json::object();
  for (size_t i = 0; i < r.dice.size(); ++i) dice[targets[i]] = r.dice[i];
  return {{"epoch", r.epoch + 1},   {"lr", r.lr},   {"train_loss", r.train_loss},
          {"val_loss", r.val_loss}, {"dice", dice}, {"mean_dice", r.mean_dice},
          {"ema_dice", r.ema_dice}};
}

EpochRecord record_from_json(const Json& json, const Path& where) {
  EpochRecord r;
  r.epoch = get<int64_t>(json, "epoch", where) - 1;
  for (const Json& value : get<Json>(json, "dice", where)) r.dice.push_back(number(value));
  const std::pair<const char*, double*> fields[] = {{"lr", &r.lr},
                                                    {"train_loss", &r.train_loss},
                                                    {"val_loss", &r.val_loss},
                                                    {"mean_dice", &r.mean_dice},
                                                    {"ema_dice", &r.ema_dice}};
  for (const auto& [key, value] : fields) *value = number(json, key, where);
  return r;
}

void write_metrics(const Path& path, const std::vector<EpochRecord>& history, const std::vector<std::string>& targets) {
  std::string text;
  for (const EpochRecord& r : history) {
    Json line = to_json(r, targets);
    for (const auto& [key, time] : kTimes) line[key] = r.times.*time;
    text += json_text(line, -1) + "\n";
  }
  write_text(path, text);
}

void read_times(const Path& path, std::vector<EpochRecord>& history) {
  if (!std::filesystem::exists(path)) return;
  std::istringstream text(read_text(path));
  std::string line;
  for (size_t i = 0; i < history.size() && std::getline(text, line); ++i) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object()) continue;
    for (const auto& [key, time] : kTimes) history[i].times.*time = number(json.value(key, Json()));
  }
}

}  // namespace metvox
