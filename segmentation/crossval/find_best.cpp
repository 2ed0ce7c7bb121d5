// SPDX-License-Identifier: Apache-2.0
#include "segmentation/crossval/find_best.h"

#include <algorithm>
#include <cmath>

#include "segmentation/data/shell_quoted.h"
#include "segmentation/evaluation/scores.h"
#include "segmentation/inference/ensemble.h"

namespace metvox {

namespace {

namespace fs = std::filesystem;

// Models of one name in two results folders stay apart.
std::vector<std::string> names_of_models(const std::vector<CrossValidation>& models) {
  std::vector<std::string> names;
  for (size_t i = 0; i < models.size(); ++i) {
    const Path path = fs::weakly_canonical(models[i].model);
    for (size_t j = 0; j < i; ++j)
      if (path == fs::weakly_canonical(models[j].model))
        fail(Fault::usage, models[i].model.string(), " is given twice; each model is compared once");
    const std::string name = path.filename().string();
    const auto same = std::count_if(models.begin(), models.begin() + static_cast<ptrdiff_t>(i), [&](const auto& other) {
      return fs::weakly_canonical(other.model).filename() == path.filename();
    });
    names.push_back(same == 0 ? name : sentence(name, "_", same + 1));
  }
  return names;
}

// A comparison is made on all cases or not at all.
void require_no_faults(const std::string& name, const std::vector<std::string>& faults) {
  if (faults.empty()) return;
  std::string all;
  for (const std::string& fault : faults) all += "\n  " + fault;
  fail(Fault::input, name, " cannot be compared:", all);
}

void require_same_cases(const CrossValidation& a, const CrossValidation& b) {
  if (a.dataset.labels != b.dataset.labels)
    fail(Fault::input, a.model.string(), " and ", b.model.string(),
         " have different labels; only models of the same labels can be compared");
  for (const auto& [x, y] : {std::pair{&a, &b}, std::pair{&b, &a}})
    for (const auto& [id, folder] : x->folders)
      if (!y->folders.contains(id))
        fail(Fault::input, "case ", id, " is in the folds of ", x->model.string(), " but not in those of ",
             y->model.string(), "; compare models that were validated on the same cases");
}

void require_probabilities(const CrossValidation& v) {
  for (const auto& [id, folder] : v.folders)
    if (!fs::exists(prediction_files(folder, id).probabilities))
      fail(Fault::input, prediction_files(folder, id).probabilities.string(),
           " is missing, which pairs of models need: run `metvox train --resume --save-probabilities` for each fold, "
           "which validates it again, or find the best single model with --disable-ensembling");
}

void average_pair(const CrossValidation& a, const CrossValidation& b, const Path& dir) {
  begin_new_folder(dir, a.model);
  for (const auto& [id, folder] : a.folders)
    ensemble_case(id, {prediction_files(folder, id), prediction_files(b.folders.at(id), id)}, a.dataset.labels, dir,
                  {});
}

size_t first_of_the_best(const std::vector<Candidate>& candidates) {
  size_t best = 0;
  for (size_t i = 1; i < candidates.size(); ++i)
    if (candidates[i].dice > candidates[best].dice || std::isnan(candidates[best].dice)) best = i;
  if (std::isnan(candidates[best].dice))
    fail(Fault::input, "no model has a mean Dice of all targets: a target is in no truth and no prediction of them");
  return best;
}

Json information(const BestFound& found, const FindBestOptions& options) {
  const Candidate& best = found.candidates[found.best];
  Json considered = Json::array(), results = Json::object(), selected = Json::array();
  for (const CrossValidation& v : found.models) considered.push_back(fs::absolute(v.model).lexically_normal().string());
  for (const Candidate& c : found.candidates) results[c.name] = c.dice;
  for (size_t m : best.members) selected.push_back({{"model", considered[m]}, {"folds", found.models[m].folds}});
  return {{"program", "metvox " METVOX_VERSION},
          {"considered_models", considered},
          {"ensembling_allowed", options.ensembles},
          {"all_results", results},
          {"best_model_or_ensemble",
           {{"name", best.name},
            {"result_on_crossval_pre_pp", best.dice},
            {"result_on_crossval_post_pp", found.postprocessing.after.at("foreground_mean").at("Dice")},
            {"postprocessing_file", (best.predictions / "postprocessing.json").string()},
            {"some_plans_file", (best.predictions / "plans.json").string()},
            {"selected_model_or_models", selected}}}};
}

// The model of a cascade's stage before this one, its sibling; empty where there is none.
Path previous_stage_of(const Path& model) {
  const std::string name = fs::weakly_canonical(model).filename().string();
  const size_t end = name.rfind("__");
  const Json plans = read_json(model / "plans.json");
  if (end == std::string::npos || !plans.contains("configurations")) return {};
  const Json& all = plans.at("configurations");
  const std::string configuration = name.substr(end + 2);
  if (!all.contains(configuration) || !all.at(configuration).contains("previous_stage")) return {};
  const auto stage = get<std::string>(all.at(configuration), "previous_stage", model / "plans.json");
  return fs::weakly_canonical(model).parent_path() / (name.substr(0, end + 2) + stage);
}

std::string predict_command(const CrossValidation& v, const std::string& output, bool probabilities) {
  std::string folds;
  for (const std::string& fold : v.folds) folds += " " + fold;
  const std::string from = "metvox predict -i INPUT_FOLDER -o ";
  const Path previous = previous_stage_of(v.model);
  const std::string before = output + "_PREV_STAGE";
  return (previous.empty() ? "" : sentence(from, before, " -m ", shell_quoted(previous), " -f", folds, "\n")) +
         sentence(from, output, " -m ", shell_quoted(fs::absolute(v.model).lexically_normal()), " -f", folds,
                  probabilities ? " --save-probabilities" : "",
                  previous.empty() ? "" : " --prev-stage-predictions " + before, "\n");
}

}  // namespace

BestFound find_best(const FindBestOptions& options, const Path& dir,
                    const std::function<void(const std::string&)>& say) {
  BestFound found;
  for (const Path& model : options.models) {
    found.models.push_back(open_cross_validation(model, options.folds, options.truths));
    require_same_cases(found.models.front(), found.models.back());
  }
  const bool pairs = options.ensembles && found.models.size() > 1;
  if (pairs)
    for (const CrossValidation& v : found.models) require_probabilities(v);
  const std::vector<std::string> names = names_of_models(found.models);
  const auto measured = [&](Candidate c, const std::vector<std::string>& faults) {
    require_no_faults(c.name, faults);
    c.dice = foreground_dice(c.predictions);
    say(sentence(c.name, ": mean Dice ", c.dice));
    found.candidates.push_back(std::move(c));
  };
  for (size_t i = 0; i < names.size(); ++i)
    measured({names[i], {i}, dir / names[i]}, accumulate(found.models[i], dir / names[i]));
  const Path truths = found.models.front().truths;
  for (size_t i = 0; pairs && i < names.size(); ++i)
    for (size_t j = i + 1; j < names.size(); ++j) {
      const std::string name = "ensemble___" + names[i] + "___" + names[j];
      average_pair(found.models[i], found.models[j], dir / name);
      measured({name, {i, j}, dir / name}, evaluate_folder(dir / name, truths, found.models[i].dataset.labels));
    }
  found.best = first_of_the_best(found.candidates);
  const Candidate& best = found.candidates[found.best];
  say("determining the post-processing of " + best.name);
  found.postprocessing =
      determine_postprocessing(best.predictions, truths, found.models.front().dataset.labels, [](int64_t, int64_t) {});
  write_json(best.predictions / "postprocessing.json", to_json(found.postprocessing));
  write_json(dir / "inference_information.json", information(found, options));
  write_text(dir / "inference_instructions.txt", inference_instructions(found));
  return found;
}

std::string inference_instructions(const BestFound& found) {
  const Candidate& best = found.candidates[found.best];
  std::string text = sentence("Best in cross-validation: ", best.name, ", mean Dice ", best.dice, "\n\n");
  if (best.members.size() == 1) {
    text += predict_command(found.models[best.members[0]], "OUTPUT_FOLDER", false);
  } else {
    std::string folders;
    for (size_t m = 0; m < best.members.size(); ++m) {
      const std::string output = sentence("OUTPUT_FOLDER_MODEL_", m + 1);
      text += predict_command(found.models[best.members[m]], output, true);
      folders += " " + output;
    }
    text += "metvox ensemble -i" + folders + " -o OUTPUT_FOLDER\n";
  }
  if (found.postprocessing.rules.empty()) return text + "\nNo post-processing raises the Dice; none is needed.\n";
  text += "\nPost-processing that raised the Dice:\n";
  for (const PostprocessingRule& rule : found.postprocessing.rules) text += "  " + describe(rule) + "\n";
  return text + "It deletes every other metastasis of a patient who has several; for metastases leave it out.\n" +
         "metvox postprocess -i OUTPUT_FOLDER -o OUTPUT_FOLDER_PP --postprocessing " +
         shell_quoted(fs::absolute(best.predictions / "postprocessing.json").lexically_normal()) + "\n";
}

}  // namespace metvox
