// SPDX-License-Identifier: Apache-2.0
// A comparison as files and as JSON.
#include "segmentation/study/compare.h"

#include "io/csv.h"
#include "segmentation/study/forest_plot.h"

namespace metvox {

namespace {

// A row of a table: name and value of each cell, in order.
using Record = Json;

Record record(const Descriptive& d) {
  return {{"system", d.system},
          {"metric", d.metric},
          {"n", d.n},
          {"mean", d.mean},
          {"std_population", d.std_population},
          {"std_sample", d.std_sample},
          {"ci95_low", d.ci95.low},
          {"ci95_high", d.ci95.high},
          {"shapiro_w", d.shapiro.statistic},
          {"shapiro_p", d.shapiro.p_value}};
}

Record record(const PairTest& t) {
  return {{"comparison", t.comparison},
          {"group", t.group},
          {"metric", t.metric},
          {"mean_a", t.mean_a},
          {"mean_b", t.mean_b},
          {"a_better_cases", t.a_better_cases},
          {"n_cases", t.n_cases},
          {"test", t.test},
          {"alternative", name_of(t.alternative)},
          {"statistic", t.result.statistic},
          {"p_value", t.result.p_value},
          {"p_holm", t.p_holm}};
}

Record effects(const PairTest& t) {
  return {{"comparison", t.comparison},
          {"group", t.group},
          {"metric", t.metric},
          {"n_cases", t.n_cases},
          {"equal_cases", t.equal_cases},
          {"rank_biserial", t.rank_biserial},
          {"mean_difference", t.mean_difference},
          {"difference_ci95_low", t.difference95.low},
          {"difference_ci95_high", t.difference95.high},
          {"a_better_share_ci95_low", t.a_better_share95.low},
          {"a_better_share_ci95_high", t.a_better_share95.high},
          {"detectable_difference", t.detectable_difference},
          {"smallest_p", t.smallest_p}};
}

Record record(const OmnibusTest& t) {
  return {{"groups", t.groups},
          {"metric", t.metric},
          {"n_cases", t.n_cases},
          {"test", "kruskal-wallis"},
          {"statistic", t.kruskal_wallis.statistic},
          {"p_value", t.kruskal_wallis.p_value}};
}

Record record(const CaseMarks& c) { return {{"sample", c.sample}, {"marks", c.marks}}; }

Record record(const Note& n) {
  return {{"system", n.system}, {"metric", n.metric}, {"sample", n.sample}, {"note", n.text}};
}

std::string cell(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_number_integer() ? std::to_string(value.get<int64_t>()) : csv_number(value.get<double>());
}

// A table without rows has the columns of an empty one.
template <class T, class AsRecord>
void write_records(const Path& path, const std::vector<T>& rows, AsRecord as_record) {
  CsvTable table;
  const Record names = as_record(T{});
  for (const auto& [name, value] : names.items()) table.columns.push_back(name);
  for (const T& row : rows) {
    table.rows.emplace_back();
    for (const Json& value : as_record(row)) table.rows.back().push_back(cell(value));
  }
  write_csv(path, table);
}

template <class T>
Json list(const std::vector<T>& rows) {
  Json out = Json::array();
  for (const T& row : rows) out.push_back(record(row));
  return out;
}

}  // namespace

void write_comparison(const StudyComparison& c, const Path& out) {
  make_folder(out);
  const auto plain = [](const auto& row) { return record(row); };
  write_records(out / "notes.csv", c.notes, plain);
  write_records(out / "descriptive.csv", c.descriptive, plain);
  write_records(out / "comparison.csv", c.tests, plain);
  write_records(out / "effects.csv", c.tests, effects);
  write_records(out / "omnibus.csv", c.omnibus, plain);
  write_records(out / "challenging.csv", c.challenging, plain);
  if (c.mode == CompareMode::paired) write_text(out / "comparison.svg", forest_plot(c));
}

Json to_json(const StudyComparison& c) {
  Json tests = Json::array();
  for (const PairTest& t : c.tests) {
    tests.push_back(record(t));
    tests.back().update(effects(t));
  }
  return {{"mode", c.mode == CompareMode::paper ? "paper" : "paired"},
          {"cases", c.cases},
          {"descriptive", list(c.descriptive)},
          {"comparison", tests},
          {"omnibus", list(c.omnibus)},
          {"challenging", list(c.challenging)},
          {"notes", list(c.notes)}};
}

}  // namespace metvox
