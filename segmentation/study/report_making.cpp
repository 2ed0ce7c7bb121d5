// SPDX-License-Identifier: Apache-2.0
// How the page's numbers came about: training curves, plans, configuration, seeds, hashes, times.
#include <algorithm>
#include <cmath>

#include "segmentation/data/case_fault.h"
#include "segmentation/data/config_hash.h"
#include "segmentation/evaluation/html.h"
#include "segmentation/evaluation/svg.h"
#include "segmentation/networks/network.h"
#include "segmentation/study/report_data.h"

namespace metvox {
namespace {

template <class Number>
std::string joined(const std::vector<Number>& values) {
  std::string text;
  for (const Number& value : values) text += sentence(text.empty() ? "" : " × ", value);
  return text;
}

// A plot of one quantity over the epochs, a curve a fold, for the regimes that are given.
std::string curves(const StudyResults& r, const StudyModel& m, const std::vector<std::string>& regimes,
                   double EpochRecord::*field, const svg::Plot::Labels& labels) {
  std::vector<double> values;
  size_t epochs = 1;
  for (const StudyTraining& t : r.trainings) {
    if (t.model != m.name || std::find(regimes.begin(), regimes.end(), t.regime) == regimes.end()) continue;
    epochs = std::max(epochs, t.history.size());
    for (const EpochRecord& e : t.history) values.push_back(e.*field);
  }
  if (values.empty()) return "";
  svg::Axis x = svg::axis_over(0, static_cast<double>(epochs), 6);
  x.step = std::max(1.0, x.step);
  const bool dice = field != &EpochRecord::val_loss;
  svg::Plot plot(labels, x, dice ? svg::Axis{0, 1, 0.2} : svg::axis_over(values, 5));
  plot.number_x();
  for (const std::string& regime : regimes) {
    plot.legend(regime, regime_colour(regime));
    for (const StudyTraining& t : r.trainings) {
      if (t.model != m.name || t.regime != regime) continue;
      std::vector<svg::Point> points;
      for (const EpochRecord& e : t.history) points.push_back({static_cast<double>(e.epoch + 1), e.*field});
      plot.curve(points, regime_colour(regime), 1.6);
    }
  }
  return plot.svg();
}

std::string models_table(const StudyResults& r) {
  CsvTable table{{"Model", "Network", "Loss", "Optimizer", "Learning rate", ""}, {}};
  for (const StudyModel& m : r.config.models) {
    const TrainingDefaults& own = find_network(m.network).defaults;
    const bool other = m.lr && *m.lr != own.lr;
    table.rows.push_back({m.name, m.network, m.loss, own.optimizer, sentence(m.lr.value_or(own.lr)),
                          other ? sentence("instead of the network's own ", own.lr) : ""});
  }
  return html::table(table);
}

std::string data_text(const StudyData& data, const Path& raw) {
  if (!data.phantom) return raw.string();
  const PhantomOptions& p = *data.phantom;
  return sentence(p.cases, " phantoms of ", p.size[0], " × ", p.size[1], " × ", p.size[2], ", scanner \"", p.domain,
                  "\", seed ", p.seed);
}

std::string data_table(const StudyResults& r) {
  const StudyConfig& c = r.config;
  CsvTable table{{"Set", "What", "Used for"}, {}};
  table.rows.push_back({"public", data_text(c.public_data, study_paths::public_raw(c)), "pre-training"});
  table.rows.push_back(
      {"private", data_text(c.private_data, study_paths::private_raw(c)), "fine-tuning, training from scratch"});
  const StudyData held_out{study_paths::held_out_images(c), c.held_out.phantom};
  table.rows.push_back({"held out", data_text(held_out, held_out.raw), "testing: " + counted(r.paired.cases, "case")});
  return html::table(table);
}

std::string budget_text(const StudyConfig& c) {
  std::string folds;
  for (const std::string& fold : c.folds) folds += (folds.empty() ? "" : ", ") + fold;
  const std::string source = c.pretraining_fold == "matched"
                                 ? "each fine-tuning starts from the pre-training fold of its own number"
                                 : "all fine-tunings start from pre-training fold " + c.pretraining_fold;
  return sentence(
      "<p>Epochs: pre-training ", c.pretraining_epochs, ", fine-tuning and scratch ", c.training_epochs,
      " each; iterations an epoch: ", c.iterations, "; folds: ", folds, "; ", source,
      ". Segmentation heads named .seg_layers. start anew, all other weights are taken over, the optimizer's "
      "state is not. Held-out cases are predicted by the mean of the folds, windows every ",
      c.step_size, " patch, ", c.mirroring ? "mirrored along all axes" : "not mirrored", ". Seed ", c.seed, ".</p>\n");
}

std::vector<std::string> plan_column(const Configuration& c) {
  const auto masked = std::count(c.use_mask_for_norm.begin(), c.use_mask_for_norm.end(), true);
  return {joined(c.spacing_mm),
          joined(c.median_image_size),
          joined(c.patch_size),
          sentence(c.batch_size),
          c.batch_dice ? "over the batch" : "sample by sample",
          masked == 0 ? "over the whole cropped box, zero background too" : "over non-zero voxels",
          joined(c.architecture.features_per_stage)};
}

// What it means for the public set to be trained with the plans of the private one.
std::string plans_text(const StudyResults& r) {
  const Path folder = r.study / study_paths::kPublic, file = r.study / study_paths::kPrivate / "plans.json";
  if (!std::filesystem::exists(file) || !std::filesystem::exists(folder / "dataset_fingerprint.json")) return "";
  const Plans plans = read_plans(file);
  const Configuration& moved = plans.configuration(r.config.configuration, file);
  const Plans own_plans = make_plans(
      fingerprint_from_json(read_json(folder / "dataset_fingerprint.json"), folder / "dataset_fingerprint.json"),
      read_description(folder / "dataset.json"), r.config.plan);
  const auto has = [&](const Configuration& c) { return c.name == r.config.configuration; };
  const auto own = std::find_if(own_plans.configurations.begin(), own_plans.configurations.end(), has);
  const std::vector<std::string> names{
      "spacing, mm (z, y, x)", "median image, voxels", "patch", "batch", "Dice term", "z-score", "features"},
      of_private = plan_column(moved),
      of_public =
          own == own_plans.configurations.end() ? std::vector<std::string>(names.size(), "–") : plan_column(*own);
  CsvTable table{{"", "plans used (of the private set)", "the public set's own would be", ""}, {}};
  for (size_t i = 0; i < names.size(); ++i)
    table.rows.push_back({names[i], of_private[i], of_public[i], of_private[i] == of_public[i] ? "" : "differs"});
  return "<h2>Plans moved from the private to the public set</h2>\n" + html::table(table) +
         "<p class=\"soft\">So that a pre-trained network fits, the public set is resampled, normalised and cut as the "
         "private set's plans say; the third column is what would have been planned for it alone.</p>\n";
}

std::string hours_text(double seconds) {
  if (!std::isfinite(seconds)) return "–";
  const auto s = static_cast<int64_t>(std::llround(seconds));
  if (s < 60) return sentence(s, " s");
  if (s < 3600) return sentence(s / 60, " min ", s % 60, " s");
  return sentence(s / 3600, " h ", s / 60 % 60, " min");
}

// Stages with the sum of their jobs' times.
std::string times_table(const StudyResults& r) {
  struct Stage {
    std::string name;
    int64_t jobs = 0, done = 0, seconds = 0;
  };
  std::vector<Stage> stages;
  for (const Job& job : study_jobs(r.config, {})) {
    if (job.stage == "report") continue;
    if (stages.empty() || stages.back().name != job.stage) stages.push_back({job.stage});
    Stage& stage = stages.back();
    ++stage.jobs;
    if (!job_done(job, r.study)) continue;
    ++stage.done;
    const int64_t begun = noted_time(r.study / study_paths::begun(job.name)),
                  done = noted_time(r.study / study_paths::done(job.name));
    if (begun > 0 && done >= begun) stage.seconds += done - begun;
  }
  CsvTable table{{"Stage", "Jobs", "Done", "Time"}, {}};
  int64_t total = 0;
  for (const Stage& s : stages) {
    table.rows.push_back({s.name, sentence(s.jobs), sentence(s.done), hours_text(static_cast<double>(s.seconds))});
    total += s.seconds;
  }
  table.rows.push_back({"all", "", "", hours_text(static_cast<double>(total))});
  return "<h2>Times</h2>\n" + html::table(table) +
         "<p class=\"soft\">Sums over jobs, of the run that finished each; jobs may have run side by side.</p>\n";
}

std::string trainings_table(const StudyResults& r) {
  CsvTable table{{"Training", "Fold", "Epochs", "Step, ms", "Time", "Pseudo-Dice", "Validation Dice", "Seed", "Device",
                  "Precision", "Threads", "Hash"},
                 {}};
  for (const StudyTraining& t : r.trainings) {
    double seconds = 0, step_ms = 0;
    for (const EpochRecord& e : t.history) {
      seconds += e.times.seconds;
      step_ms += e.times.step_ms / static_cast<double>(t.history.size());
    }
    const auto fact = [&](const char* key) {
      if (!t.facts.is_object() || !t.facts.contains(key)) return std::string("–");
      return t.facts[key].is_string() ? t.facts[key].get<std::string>() : t.facts[key].dump();
    };
    const bool any = !t.history.empty();
    table.rows.push_back({t.model + " " + t.regime, t.fold, sentence(t.history.size()),
                          any ? html::fixed(step_ms, 0) : "–", any ? hours_text(seconds) : "–",
                          any ? html::fixed(t.history.back().ema_dice, 3) : "–", html::fixed(t.validation_dice, 3),
                          fact("seed"), fact("device"), fact("precision"), fact("threads"), fact("config_hash")});
  }
  return "<details><summary>Every training: budget, seed, device, hash</summary>\n" + html::table(table) +
         "</details>\n";
}

std::string predictions_table(const StudyResults& r) {
  CsvTable table{{"Predictions", "Folds", "Device", "Precision", "Hash"}, {}};
  for (const StudyResult& s : r.systems) {
    const Path file = r.study / study_paths::predictions(s.system) / "predict_config.json";
    if (!std::filesystem::exists(file)) continue;
    const Json json = read_json(file);
    const auto fact = [&](const char* key) {
      const Json value = json.value(key, Json("–"));
      return value.is_string() ? value.get<std::string>() : value.dump();
    };
    table.rows.push_back({s.system.name(), fact("folds"), fact("device"), fact("precision"), fact("hash")});
  }
  if (table.rows.empty()) return "";
  return "<details><summary>Every prediction: folds, device, hash</summary>\n" + html::table(table) + "</details>\n";
}

}  // namespace

std::string learning_section(const StudyResults& r) {
  std::string rows;
  for (const StudyModel& m : r.config.models) {
    const std::vector<std::string> row{
        curves(r, m, {"pretrained"}, &EpochRecord::ema_dice, {m.name, "epoch", "pseudo-Dice, public"}),
        curves(r, m, {"fine-tuned", "scratch"}, &EpochRecord::ema_dice, {m.name, "epoch", "pseudo-Dice, private"}),
        curves(r, m, {"fine-tuned", "scratch"}, &EpochRecord::val_loss, {m.name, "epoch", "validation loss"})};
    if (std::any_of(row.begin(), row.end(), [](const std::string& plot) { return !plot.empty(); }))
      rows += side_by_side(row);
  }
  if (rows.empty()) return "";
  return "<h2>Learning curves</h2>\n" + rows +
         "<p class=\"soft\">A line a fold. Pseudo-Dice: moving average, of validation patches, not of whole cases. "
         "Losses of different models are not on one scale.</p>\n";
}

std::string making_section(const StudyResults& r) {
  const Json config = to_json(r.config);
  return "<h2>Design</h2>\n" + data_table(r) + models_table(r) + budget_text(r.config) + plans_text(r) +
         times_table(r) + trainings_table(r) + predictions_table(r) +
         "<h2>Configuration</h2>\n<p>metvox " METVOX_VERSION ", study " + config_hash(config) +
         "</p>\n<details><summary>study.json</summary>\n<pre class=\"wide\">" + html::escape(json_text(config)) +
         "</pre></details>\n";
}

}  // namespace metvox
