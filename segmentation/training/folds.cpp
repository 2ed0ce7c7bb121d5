// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/folds.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "segmentation/data/dataset.h"

namespace metvox {
namespace {

constexpr int kFolds = 5;
constexpr uint32_t kSeed = 12345;

// NumPy's legacy shuffle: Fisher and Yates from the end, each draw masked to the next 2^k - 1 and rejected above i.
std::vector<int64_t> shuffled(int64_t n, uint32_t seed) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::mt19937 random(seed);
  for (int64_t i = n - 1; i >= 1; --i) {
    uint64_t mask = static_cast<uint64_t>(i);
    for (int shift : {1, 2, 4, 8, 16}) mask |= mask >> shift;
    uint64_t j;
    do j = random() & mask;
    while (j > static_cast<uint64_t>(i));
    std::swap(order[static_cast<size_t>(i)], order[j]);
  }
  return order;
}

// Groups of case ids that must stay together, in the order of their names.
std::vector<std::vector<std::string>> groups_of(const std::vector<std::string>& ids, GroupBy group_by) {
  std::map<std::string, std::vector<std::string>> groups;
  for (const std::string& id : ids) groups[group_by == GroupBy::patient ? patient_of(id) : id].push_back(id);
  std::vector<std::vector<std::string>> out;
  for (auto& [name, members] : groups) {
    std::sort(members.begin(), members.end());
    out.push_back(std::move(members));
  }
  return out;
}

Fold fold_of(const std::vector<std::vector<std::string>>& groups, const std::vector<int64_t>& val) {
  const std::set<int64_t> held_out(val.begin(), val.end());
  Fold fold;
  for (size_t g = 0; g < groups.size(); ++g) {
    auto& side = held_out.contains(static_cast<int64_t>(g)) ? fold.val : fold.train;
    side.insert(side.end(), groups[g].begin(), groups[g].end());
  }
  std::sort(fold.train.begin(), fold.train.end());
  std::sort(fold.val.begin(), fold.val.end());
  return fold;
}

std::vector<Fold> read_folds(const Path& path) {
  const Json json = read_json(path);
  if (!json.is_array()) fail(Fault::input, path.string(), ": a list of {\"train\": [...], \"val\": [...]} is expected");
  std::vector<Fold> folds;
  for (const Json& entry : json)
    folds.push_back(
        {get<std::vector<std::string>>(entry, "train", path), get<std::vector<std::string>>(entry, "val", path)});
  return folds;
}

Fold random_split(const std::vector<std::string>& ids, uint32_t number, GroupBy group_by) {
  const auto groups = groups_of(ids, group_by);
  const int64_t n = static_cast<int64_t>(groups.size()), kept = n * 8 / 10;
  const std::vector<int64_t> order = shuffled(n, kSeed + number);
  return fold_of(groups, {order.begin() + kept, order.end()});
}

}  // namespace

GroupBy group_by_from(const std::string& name) {
  if (name == "patient") return GroupBy::patient;
  if (name == "none") return GroupBy::none;
  fail(Fault::usage, "--group-by is \"", name, "\"; it may be patient or none");
}

std::vector<std::vector<int64_t>> kfold(int64_t n, int folds, uint32_t seed) {
  const std::vector<int64_t> order = shuffled(n, seed);
  std::vector<std::vector<int64_t>> out;
  auto next = order.begin();
  for (int f = 0; f < folds; ++f) {
    const auto last = next + n / folds + (f < n % folds);
    out.emplace_back(next, last);
    std::sort(out.back().begin(), out.back().end());
    next = last;
  }
  return out;
}

std::vector<Fold> make_folds(const std::vector<std::string>& ids, GroupBy group_by) {
  const auto groups = groups_of(ids, group_by);
  if (groups.size() < 2)
    fail(Fault::input, "a cross-validation needs at least two ", group_by == GroupBy::patient ? "patients" : "cases",
         ", there is ", groups.size(), " (--fold all trains on everything)");
  std::vector<Fold> folds;
  const int count = static_cast<int>(std::min<size_t>(kFolds, groups.size()));
  for (const auto& val : kfold(static_cast<int64_t>(groups.size()), count, kSeed))
    folds.push_back(fold_of(groups, val));
  return folds;
}

void write_folds(const Path& splits_json, const std::vector<Fold>& folds) {
  Json json = Json::array();
  for (const Fold& f : folds) json.push_back({{"train", f.train}, {"val", f.val}});
  write_json(splits_json, json);
}

ChosenFold choose_fold(const Path& splits_json, const std::vector<std::string>& ids, const std::string& name,
                       GroupBy group_by) {
  ChosenFold chosen;
  if (name == "all") {
    chosen.fold = {ids, ids};
    chosen.name = name;
    return chosen;
  }
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size())
    fail(Fault::usage, "--fold is \"", name, "\"; it may be a number from 0 or all");
  chosen.name = std::to_string(number);
  const bool there = std::filesystem::exists(splits_json);
  const std::vector<Fold> folds = there ? read_folds(splits_json) : make_folds(ids, group_by);
  if (!there) chosen.to_write = folds;
  chosen.listed = there && number < folds.size();
  chosen.random = number >= folds.size();
  const Fold& fold = chosen.fold = number < folds.size() ? folds[number] : random_split(ids, number, group_by);
  const std::set<std::string> known(ids.begin(), ids.end());
  std::set<std::string> unused = known;
  for (const auto* side : {&fold.train, &fold.val})
    for (const std::string& id : *side) {
      unused.erase(id);
      if (!known.contains(id))
        fail(Fault::input, splits_json.string(), ": case ", id, " of fold ", name,
             " has no preprocessed file beside it; run `metvox preprocess`, or remove the case from the list");
    }
  chosen.left_out.assign(unused.begin(), unused.end());
  if (fold.train.empty() || fold.val.empty())
    fail(Fault::input, splits_json.string(), ": fold ", name, " has ", fold.train.size(), " training and ",
         fold.val.size(), " validation cases");
  return chosen;
}

}  // namespace metvox
