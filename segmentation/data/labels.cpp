// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/labels.h"

#include <algorithm>
#include <set>

namespace metvox {
namespace {

constexpr int kMaxLabel = 127;  // labels are kept as i8

bool is_background(const LabelTarget& t) { return t.labels == std::vector<int>{0}; }
bool is_ignore(const LabelTarget& t) { return t.name == "ignore"; }

std::vector<int> values_of(const Json& value, const std::string& name, const Path& where) {
  const Json list = value.is_array() ? value : Json::array({value});
  std::vector<int> out;
  for (const Json& v : list) {
    if (!v.is_number_integer() || v < 0 || v > kMaxLabel)
      fail(Fault::input, where.string(), ": label \"", name, "\" holds ", v.dump(), "; labels are integers from 0 to ",
           kMaxLabel);
    out.push_back(v.get<int>());
  }
  if (out.empty()) fail(Fault::input, where.string(), ": label \"", name, "\" joins no values");
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

void check_values(const Labels& labels, const Path& where) {
  std::set<int> used;
  for (const LabelTarget& t : labels.entries) used.insert(t.labels.begin(), t.labels.end());
  int expected = 0;
  for (int v : used)
    if (v != expected++)
      fail(Fault::input, where.string(), ": labels are to be consecutive integers from 0 (background), but ",
           expected - 1, " is missing");
  if (!labels.has_regions() && used.size() != labels.entries.size())
    fail(Fault::input, where.string(), ": two names stand for one label; name each label once");
  const int ignore = labels.ignore_label();
  if (ignore >= 0 && ignore != *used.rbegin())
    fail(Fault::input, where.string(), ": \"ignore\" is ", ignore, "; it is to be the highest label, ", *used.rbegin());
}

void read_class_order(Labels& labels, const Json& json, const Path& where) {
  if (!labels.has_regions()) return;
  labels.regions_class_order = get<std::vector<int>>(json, "regions_class_order", where);
  const size_t regions = labels.heads().size();
  if (labels.regions_class_order.size() != regions)
    fail(Fault::input, where.string(), ": regions_class_order has ", labels.regions_class_order.size(), " entries for ",
         regions, " regions");
  for (int v : labels.regions_class_order)
    if (v < 1 || v > labels.max_label())
      fail(Fault::input, where.string(), ": regions_class_order writes label ", v, ", which \"labels\" does not hold");
}

}  // namespace

Labels Labels::from_json(const Json& dataset_json, const Path& where) {
  const Json table = get<Json>(dataset_json, "labels", where);
  if (!table.is_object() || table.empty())
    fail(Fault::input, where.string(), ": \"labels\" is to be an object, such as {\"background\": 0, \"tumour\": 1}");
  Labels labels;
  for (const auto& [name, value] : table.items()) labels.entries.push_back({name, values_of(value, name, where)});
  const auto background = std::find_if(labels.entries.begin(), labels.entries.end(),
                                       [](const LabelTarget& t) { return t.name == "background"; });
  if (background == labels.entries.end() || !is_background(*background))
    fail(Fault::input, where.string(), ": \"labels\" is to hold \"background\": 0");
  for (const LabelTarget& t : labels.entries)
    if (is_ignore(t) && t.labels.size() > 1) fail(Fault::input, where.string(), ": \"ignore\" is to be one label");
  check_values(labels, where);
  if (labels.foreground().empty()) fail(Fault::input, where.string(), ": \"labels\" holds nothing but background");
  read_class_order(labels, dataset_json, where);
  return labels;
}

Json Labels::labels_json() const {
  Json out = Json::object();
  for (const LabelTarget& t : entries) out[t.name] = t.labels.size() == 1 ? Json(t.labels[0]) : Json(t.labels);
  return out;
}

bool Labels::has_regions() const {
  return std::any_of(entries.begin(), entries.end(), [](const LabelTarget& t) { return t.labels.size() > 1; });
}

int Labels::ignore_label() const {
  for (const LabelTarget& t : entries)
    if (is_ignore(t)) return t.labels[0];
  return -1;
}

std::vector<LabelTarget> Labels::foreground() const {
  std::vector<LabelTarget> out;
  for (const LabelTarget& t : entries)
    if (!is_background(t) && !is_ignore(t)) out.push_back(t);
  if (!has_regions())
    std::sort(out.begin(), out.end(), [](const LabelTarget& a, const LabelTarget& b) { return a.labels < b.labels; });
  return out;
}

std::vector<LabelTarget> Labels::heads() const {
  std::vector<LabelTarget> out = foreground();
  if (!has_regions()) out.insert(out.begin(), {"background", {0}});
  return out;
}

int Labels::max_label() const {
  int most = 0;
  for (const LabelTarget& t : entries)
    if (!is_ignore(t)) most = std::max(most, t.labels.back());
  return most;
}

}  // namespace metvox
