// SPDX-License-Identifier: Apache-2.0
#include "segmentation/crossval/accumulate.h"

#include <algorithm>
#include <limits>

#include "segmentation/evaluation/scores.h"

namespace metvox {

namespace {

namespace fs = std::filesystem;

const std::string kEnding = ".nii.gz";

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

std::vector<std::string> numbered_folds(const Path& model) {
  std::vector<std::string> folds;
  for (const auto& entry : fs::directory_iterator(model)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && name.starts_with("fold_") && is_number(name.substr(5))) folds.push_back(name.substr(5));
  }
  std::sort(folds.begin(), folds.end(),
            [](const std::string& a, const std::string& b) { return std::pair(a.size(), a) < std::pair(b.size(), b); });
  if (folds.empty())
    fail(Fault::input, model.string(), ": holds no fold_0, fold_1, ...; `metvox train` prints the folder it writes");
  return folds;
}

void require_validated(const Path& model, const std::string& fold) {
  const Path summary = model / ("fold_" + fold) / "validation" / "summary.json";
  if (!fs::exists(summary))
    fail(Fault::input, summary.string(), " is missing: fold ", fold, " of ", model.string(),
         " is not trained and validated to its end; `metvox train --fold ", fold, " --resume` goes on with it");
}

void add_cases(CrossValidation& v, const std::string& fold) {
  const Path folder = v.model / ("fold_" + fold) / "validation";
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with('.') || !name.ends_with(kEnding)) continue;
    const auto [at, is_new] = v.folders.emplace(name.substr(0, name.size() - kEnding.size()), folder);
    if (!is_new)
      fail(Fault::input, "case ", at->first, " was predicted by two folds, in ", at->second.string(), " and ",
           folder.string(), "; in a cross-validation each case is in one; choose folds with -f");
  }
}

// The folder of the truths that the fold was measured against.
Path truths_of(const Path& validation) {
  const Path file = validation / "summary.json";
  const Json cases = get<Json>(read_json(file), "metric_per_case", file);
  if (!cases.is_array() || cases.empty()) fail(Fault::input, file.string(), ": metric_per_case lists no case");
  const Path truths = Path(get<std::string>(cases[0], "reference_file", file)).parent_path();
  if (!fs::is_directory(truths))
    fail(Fault::input, truths.string(), ": the truths that ", file.string(),
         " speaks of are no longer there; say with --truth where they are");
  return truths;
}

}  // namespace

CrossValidation open_cross_validation(const Path& model, const std::vector<std::string>& folds, const Path& truths) {
  require_folder(model);
  CrossValidation v;
  v.model = model;
  v.dataset = read_description(model / "dataset.json");
  v.folds = folds.empty() ? numbered_folds(model) : folds;
  for (const std::string& fold : v.folds) {
    if (!is_number(fold))
      fail(Fault::usage, "fold ", fold, " is no fold of a cross-validation; folds are numbers: 0, 1, ...");
    if (std::count(v.folds.begin(), v.folds.end(), fold) > 1)
      fail(Fault::usage, "fold ", fold, " is given twice; its cases would count twice");
    require_validated(model, fold);
    add_cases(v, fold);
  }
  v.truths = truths.empty() ? truths_of(model / ("fold_" + v.folds.front()) / "validation") : truths;
  return v;
}

void begin_new_folder(const Path& dir, const Path& model) {
  make_folder(dir);
  if (!fs::is_empty(dir))
    fail(Fault::usage, dir.string(), " holds files already, which would be counted too; give a new folder");
  for (const char* name : {"dataset.json", "plans.json"}) write_json(dir / name, read_json(model / name));
}

std::vector<std::string> accumulate(const CrossValidation& v, const Path& dir) {
  begin_new_folder(dir, v.model);
  for (const auto& [id, folder] : v.folders) write_bytes(dir / (id + kEnding), read_bytes(folder / (id + kEnding)));
  return evaluate_folder(dir, v.truths, v.dataset.labels);
}

double foreground_dice(const Path& dir) {
  const Path file = dir / "summary.json";
  const Json dice = get<Json>(get<Json>(read_json(file), "foreground_mean", file), "Dice", file);
  return dice.is_number() ? dice.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace metvox
