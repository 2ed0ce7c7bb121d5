// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/report_data.h"

#include <algorithm>
#include <fstream>

#include "io/safetensors.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

std::vector<EpochRecord> read_history(const Path& path) {
  std::vector<EpochRecord> history;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (!line.empty()) history.push_back(record_from_json(parse_json(line, path), path));
  read_times(path, history);
  return history;
}

StudyTraining read_training(const std::string& regime, const StudyModel& m, const std::string& fold,
                            const StudyConfig& config, const Path& study) {
  StudyTraining t{regime, m.name, fold, {}, {}};
  const Path folder = study / study_paths::model(regime, m, config) / ("fold_" + fold);
  if (fs::exists(folder / "metrics.jsonl")) t.history = read_history(folder / "metrics.jsonl");
  for (const char* name : {"final", "latest"}) {
    const Path checkpoint = folder / (std::string("checkpoint_") + name + ".safetensors");
    if (!t.facts.is_null() || !fs::exists(checkpoint)) continue;
    const auto header = read_safetensors_header(checkpoint);
    if (const auto found = header.metadata.find("metvox"); found != header.metadata.end())
      t.facts = parse_json(found->second, checkpoint);
  }
  const Path summary = folder / "validation" / "summary.json";
  if (fs::exists(summary)) {
    const Json mean = get<Json>(read_json(summary), "foreground_mean", summary);
    if (mean.contains("Dice") && mean["Dice"].is_number()) t.validation_dice = mean["Dice"].get<double>();
  }
  return t;
}

Json read_overview(const Path& summary) {
  if (!fs::exists(summary)) return {};
  const Json json = read_json(summary);
  return json.is_object() ? json.value("overview", Json()) : Json();
}

// Adds what one system found to the list of true lesions, which the first system makes.
void add_lesions(const CsvTable& table, const Path& named, size_t system, size_t systems,
                 std::vector<StudyLesion>& lesions) {
  const auto column = [&](const char* name) { return table.column(name, named); };
  const size_t region = column("region"), kind = column("kind"), sample = column("sample"), x = column("x_mm"),
               y = column("y_mm"), z = column("z_mm"), diameter = column("diameter_mm"), id = column("id");
  for (const auto& row : table.rows) {
    if (row[region] != "tc" || row[kind] == "false") continue;
    StudyLesion l{row[sample],
                  std::stoll(row[id]),
                  {std::stod(row[x]), std::stod(row[y]), std::stod(row[z])},
                  std::stod(row[diameter]),
                  {}};
    auto found = std::find_if(lesions.begin(), lesions.end(), [&](const StudyLesion& known) {
      return known.sample == l.sample && known.id == l.id;  // centres may differ by their rounding
    });
    if (found == lesions.end()) {
      l.found.assign(systems, false);
      found = lesions.insert(lesions.end(), l);
    }
    found->found[system] = row[kind] == "matched";
  }
}

}  // namespace

const StudyResult* StudyResults::find(const std::string& model, Regime regime) const {
  for (const StudyResult& r : systems)
    if (r.system.model.name == model && r.system.regime == regime) return &r;
  return nullptr;
}

const std::vector<double>& StudyResults::values(const StudyResult& result, const std::string& metric) const {
  const SystemScores* s = scores.find(result.system.model.name, result.system.regime);
  check(s != nullptr && s->values.contains(metric), "no ", metric, " of ", result.system.name());
  return s->values.at(metric);
}

const Descriptive& StudyResults::descriptive(const StudyResult& result, const std::string& metric) const {
  const std::string name = result.system.model.name + ":" + name_of(result.system.regime);
  for (const Descriptive& d : paired.descriptive)
    if (d.system == name && d.metric == metric) return d;
  fail(Fault::internal, "no ", metric, " of ", name);
}

StudyResults read_study_results(const StudyConfig& config, const Path& study) {
  StudyResults r;
  r.study = study;
  r.config = config;
  std::vector<ScoreFile> files;
  bool reference = false;
  for (const StudySystem& system : study_systems(config)) {
    const Path folder = study / study_paths::scores(system);
    if (!fs::exists(folder / "scores.csv") || !fs::exists(folder / "lesions.csv")) {
      r.missing.push_back(system.name());
      continue;
    }
    r.systems.push_back({system,
                         report_numbers(read_csv(folder / "scores.csv"), read_csv(folder / "lesions.csv"), folder),
                         read_overview(folder / "summary.json")});
    files.push_back({system.model.name, system.regime, folder / "scores.csv"});
    reference = reference || (system.model.name == config.reference && system.regime == Regime::fine_tuned);
  }
  if (files.empty())
    fail(Fault::input, study.string(),
         ": no system has scores yet (scores/MODEL-REGIME/scores.csv); run the study first");
  r.scores = read_study_scores(files);
  r.paired = compare(r.scores, CompareMode::paired, reference ? config.reference : "", config.seed);
  r.paper = compare(r.scores, CompareMode::paper, "", config.seed);
  for (size_t i = 0; i < r.systems.size(); ++i) {
    const Path file = study / study_paths::scores(r.systems[i].system) / "lesions.csv";
    add_lesions(read_csv(file), file, i, r.systems.size(), r.lesions);
  }
  std::stable_sort(r.lesions.begin(), r.lesions.end(),
                   [](const StudyLesion& a, const StudyLesion& b) { return a.diameter_mm < b.diameter_mm; });
  for (const StudyModel& m : config.models) {
    for (const std::string& fold : config.pretraining_folds())
      r.trainings.push_back(read_training("pretrained", m, fold, config, study));
    for (const char* regime : {"fine-tuned", "scratch"})
      for (const std::string& fold : config.folds) r.trainings.push_back(read_training(regime, m, fold, config, study));
  }
  return r;
}

}  // namespace metvox
