// SPDX-License-Identifier: Apache-2.0
// Which prediction stands behind which letter, and whether the study still predicts that.
#include <algorithm>
#include <set>

#include "io/nifti.h"
#include "segmentation/data/config_hash.h"
#include "segmentation/study/experts.h"
#include "segmentation/study/jobs.h"
#include "tensor/random.h"

namespace metvox {

namespace {

constexpr size_t kMostSystems = 26;
const std::vector<std::string> kKeyColumns{"form", "sample", "letter", "system", "prediction"};

}  // namespace

std::string expert_letter(size_t place) { return std::string(1, static_cast<char>('A' + place)); }

PredictionHash prediction_hash_in(const Path& study) {
  return [study](const std::string& system, const std::string& sample) -> std::string {
    const Path file = study / study_paths::kPredictions / system / (sample + ".nii.gz");
    if (!std::filesystem::exists(file)) return "";
    const Tensor labels = read_nifti_labels(file).voxels;
    return bytes_hash({static_cast<const char*>(labels.view().data), labels.bytes()});
  };
}

const ExpertKey::Shown& ExpertKey::shown(size_t sample, const std::string& letter, const std::string& where) const {
  for (size_t place = 0; place < order[sample].size(); ++place)
    if (letter == expert_letter(place)) return order[sample][place];
  fail(Fault::input, where, ": there is no prediction \"", letter, "\" of ", samples[sample]);
}

ExpertKey make_expert_key(const std::string& study_hash, const std::vector<std::string>& systems,
                          const std::vector<std::string>& samples, uint64_t seed, const PredictionHash& hash) {
  check(!systems.empty() && systems.size() <= kMostSystems, "an expert form of ", systems.size(), " systems");
  ExpertKey key{"", systems, samples, {}};
  Json facts{{"study", study_hash}, {"systems", systems}, {"samples", samples}, {"seed", seed}};
  for (size_t s = 0; s < samples.size(); ++s) {
    std::vector<ExpertKey::Shown>& order = key.order.emplace_back();
    for (const std::string& system : systems) {
      order.push_back({system, hash(system, samples[s])});
      facts["predictions"].push_back(order.back().prediction);
    }
    Random random(seed, s);
    for (size_t left = order.size(); left > 1; --left)
      std::swap(order[left - 1], order[static_cast<size_t>(random.below(static_cast<int64_t>(left)))]);
  }
  key.form = config_hash(facts);
  return key;
}

void write_expert_key(const ExpertKey& key, const Path& path) {
  CsvTable table{kKeyColumns, {}};
  for (size_t s = 0; s < key.samples.size(); ++s)
    for (size_t place = 0; place < key.order[s].size(); ++place)
      table.rows.push_back(
          {key.form, key.samples[s], expert_letter(place), key.order[s][place].system, key.order[s][place].prediction});
  write_csv(path, table);
}

ExpertKey read_expert_key(const Path& path) {
  const CsvTable table = read_csv(path);
  std::vector<size_t> places;
  for (const std::string& name : kKeyColumns) places.push_back(table.column(name, path));
  ExpertKey key;
  for (const auto& row : table.rows) {
    const std::string &form = row[places[0]], &sample = row[places[1]];
    if (key.form.empty()) key.form = form;
    if (key.samples.empty() || key.samples.back() != sample) {
      key.samples.push_back(sample);
      key.order.emplace_back();
    }
    if (form != key.form || row[places[2]] != expert_letter(key.order.back().size()))
      fail(Fault::input, path.string(), ": is not as metvox wrote it; restore it, the answers cannot be read without");
    key.order.back().push_back({row[places[3]], row[places[4]]});
  }
  if (key.form.empty()) fail(Fault::input, path.string(), ": is empty");
  for (const ExpertKey::Shown& shown : key.order.front()) key.systems.push_back(shown.system);
  std::sort(key.systems.begin(), key.systems.end());
  return key;
}

std::vector<std::string> stale_parts(const ExpertKey& key, const std::vector<std::string>& samples,
                                     const PredictionHash& hash) {
  std::vector<std::string> parts;
  for (const std::string& sample : samples)
    if (std::find(key.samples.begin(), key.samples.end(), sample) == key.samples.end())
      parts.push_back(sample + " is not in it");
  for (size_t s = 0; s < key.samples.size(); ++s) {
    const std::string& sample = key.samples[s];
    if (std::find(samples.begin(), samples.end(), sample) == samples.end()) {
      parts.push_back(sample + " has no scores any more");
      continue;
    }
    for (const std::string& system : key.systems)
      for (const auto& [shown, prediction] : key.order[s])
        if (shown == system && hash(system, sample) != prediction)
          parts.push_back(sample + " was predicted anew by " + system);
  }
  return parts;
}

CsvTable blank_form(const ExpertKey& key) {
  CsvTable blank{{"form", "expert", "sample", "letter"}, {}};
  for (const ExpertQuestion& q : expert_questions()) blank.columns.push_back(q.name);
  for (size_t s = 0; s < key.samples.size(); ++s)
    for (size_t place = 0; place < key.order[s].size(); ++place) {
      blank.rows.push_back({key.form, "", key.samples[s], expert_letter(place)});
      blank.rows.back().resize(blank.columns.size());
    }
  return blank;
}

bool form_is_begun(const ExpertKey& key, const Path& study) {
  const Path folder = study / "experts" / "form";
  if (std::filesystem::exists(study / "experts" / "ratings.csv")) return true;
  if (!std::filesystem::exists(folder)) return false;
  std::set<std::string> ours{"form.html", "form.csv"};
  for (size_t s = 0; s < key.samples.size(); ++s)
    for (size_t place = 0; place < key.order[s].size(); ++place)
      ours.insert(key.samples[s] + "_" + expert_letter(place) + ".nii.gz");
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (!ours.contains(entry.path().filename().string())) return true;
  if (!std::filesystem::exists(folder / "form.csv")) return false;
  const CsvTable blank = blank_form(key), there = read_csv(folder / "form.csv");
  return there.columns != blank.columns || there.rows != blank.rows;
}

}  // namespace metvox
