// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/study_scores.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "segmentation/evaluation/scores.h"

namespace metvox {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

using Row = std::map<std::string, double>;  // by metric
using Table = std::map<std::string, Row>;   // by case

bool is_distance(const std::string& metric) { return metric.starts_with("Hausdorff"); }
bool is_volume(const std::string& metric) { return metric.find("_volume_") != std::string::npos; }

std::string case_of(const std::string& sample) {
  for (const std::string ending : {".nii.gz", ".nii"})
    if (sample.ends_with(ending)) return sample.substr(0, sample.size() - ending.size());
  return sample;
}

double parse(std::string text, const std::string& where) {
  while (!text.empty() && text.back() == ' ') text.pop_back();
  text.erase(0, text.find_first_not_of(' '));
  if (text.empty()) return kNaN;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    fail(Fault::input, where, " is \"", text, "\", expected a number");
  return value;
}

void require_possible(double value, const std::string& metric, const std::string& where) {
  constexpr double rounding = 1e-9;
  if (std::isnan(value)) return;
  if (is_distance(metric) || is_volume(metric)) {
    if (value < 0) fail(Fault::input, where, " is ", value, ", expected 0 or more");
    if (is_volume(metric) && std::isinf(value)) fail(Fault::input, where, " is infinite, expected millilitres");
  } else if (value < 0 || value > 1 + rounding) {
    fail(Fault::input, where, " is ", value, ", expected 0 to 1");
  }
}

Table read_table(const ScoreFile& file, std::vector<Note>& notes) {
  const CsvTable csv = read_csv(file.path);
  const size_t sample = csv.column("sample", file.path);
  std::map<std::string, size_t> columns;
  for (const std::string& metric : study_metrics()) columns[metric] = csv.column(metric, file.path);
  std::set<std::string> named;
  for (const std::string& column : csv.columns) {
    if (!named.insert(column).second)
      fail(Fault::input, file.path.string(), ": the column \"", column, "\" is there twice");
    if (column != "sample" && !columns.contains(column))
      notes.push_back({file.system(), column, "", "a column that is not compared"});
  }
  if (csv.rows.empty()) fail(Fault::input, file.path.string(), ": has no cases");
  Table table;
  for (const auto& cells : csv.rows) {
    const std::string id = case_of(cells[sample]);
    if (id.empty()) fail(Fault::input, file.path.string(), ": a row has no sample");
    if (table.contains(id))
      fail(Fault::input, file.path.string(), ": ", id, " is scored twice; keep one row of each case");
    for (const auto& [metric, column] : columns) {
      const std::string where = sentence(file.path.string(), ": ", metric, " of ", id);
      const double value = parse(cells[column], where);
      require_possible(value, metric, where);
      table[id][metric] = value;
    }
  }
  return table;
}

void require_same_cases(const Table& table, const ScoreFile& file, const Table& other, const ScoreFile& other_file) {
  std::vector<std::string> missing;
  for (const auto& [id, row] : other)
    if (!table.contains(id)) missing.push_back(id);
  if (missing.empty()) return;
  const std::string more = missing.size() > 1 ? sentence(" and ", missing.size() - 1, " more") : "";
  fail(Fault::input, file.path.string(), ": has no case ", missing[0], more, ", which ", other_file.path.string(),
       " has; every file must score the same cases");
}

// An empty mask explains what stands in the row; between two empty ones there is no distance.
void note_empty_masks(const std::string& system, const std::string& id, Row& row, std::vector<Note>& notes) {
  for (const std::string region : {"et", "tc", "wt"}) {
    const bool no_truth = row["True_volume_" + region] == 0, none_predicted = row["Predicted_volume_" + region] == 0;
    const std::string distance = "Hausdorff_" + region;
    if (no_truth && none_predicted) {
      notes.push_back({system, "", id, region + " is empty in truth and prediction: no distance, no overlap"});
      row[distance] = kNaN;
    } else if (no_truth || none_predicted) {
      notes.push_back({system, "", id, region + (no_truth ? " is empty in the truth" : " is empty in the prediction")});
    }
  }
}

void note_values(const std::string& system, const std::string& id, const Row& row, std::vector<Note>& notes) {
  for (const std::string& metric : study_metrics()) {
    const double value = row.at(metric);
    if (std::isnan(value))
      notes.push_back({system, metric, id, "not a number: left out of the means and tests of this metric"});
    else if (std::isinf(value))
      notes.push_back({system, metric, id,
                       "infinite: left out of descriptive.csv's mean and interval; in tests, whose means are then inf, "
                       "worse than every finite distance and equal to the other side's infinite one"});
  }
}

// The truth should be the same whoever is compared with it.
void note_other_truths(const Table& table, const ScoreFile& file, const Table& first, std::vector<Note>& notes) {
  for (const auto& [id, row] : table)
    for (const std::string metric : {"True_volume_et", "True_volume_tc", "True_volume_wt"}) {
      const double here = row.at(metric), there = first.at(id).at(metric);
      if (std::abs(here - there) > 1e-6 * std::max(here, there))
        notes.push_back({file.system(), metric, id,
                         sentence("the truth has ", here, " ml here and ", there,
                                  " ml in the first file: were both scored against it?")});
    }
}

}  // namespace

std::string name_of(Regime regime) { return regime == Regime::fine_tuned ? "fine-tuned" : "scratch"; }

const SystemScores* StudyScores::find(const std::string& model, Regime regime) const {
  for (const SystemScores& s : systems)
    if (s.model == model && s.regime == regime) return &s;
  return nullptr;
}

const std::vector<std::string>& study_metrics() {
  static const std::vector<std::string> metrics = [] {
    std::vector<std::string> columns = scores_table({}).columns;
    std::erase(columns, "sample");
    return columns;
  }();
  return metrics;
}

bool lower_is_better(const std::string& metric) { return is_distance(metric); }

StudyScores read_study_scores(const std::vector<ScoreFile>& files) {
  check(!files.empty(), "read_study_scores: no files");
  StudyScores out;
  std::vector<Table> tables;
  for (const ScoreFile& file : files) tables.push_back(read_table(file, out.notes));
  for (const auto& [id, row] : tables[0]) out.samples.push_back(id);
  for (size_t i = 0; i < files.size(); ++i) {
    require_same_cases(tables[i], files[i], tables[0], files[0]);
    require_same_cases(tables[0], files[0], tables[i], files[i]);
    note_other_truths(tables[i], files[i], tables[0], out.notes);
    SystemScores& system = out.systems.emplace_back();
    system.model = files[i].model;
    system.regime = files[i].regime;
    for (auto& [id, row] : tables[i]) {
      note_empty_masks(system.name(), id, row, out.notes);
      note_values(system.name(), id, row, out.notes);
      for (const auto& [metric, value] : row) system.values[metric].push_back(value);
    }
  }
  return out;
}

}  // namespace metvox
