// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/jobs.h"

#include <algorithm>
#include <fstream>

#include "segmentation/networks/model.h"

namespace metvox {

namespace study_paths {

Path results(const std::string& regime, const StudyModel& model) { return Path("models") / regime / model.name; }
Path model(const std::string& regime, const StudyModel& m, const StudyConfig& c) {
  return results(regime, m) / model_folder_name(m.network, m.loss, c.configuration);
}
Path predictions(const StudySystem& system) { return kPredictions / system.name(); }
Path scores(const StudySystem& system) { return Path("scores") / system.name(); }
Path statistics(const std::string& mode) { return Path("statistics") / mode; }
Path explained(const StudySystem& system) { return Path("explained") / system.name(); }

Path public_raw(const StudyConfig& c) { return c.public_data.phantom ? kPublicData : c.public_data.raw; }
Path private_raw(const StudyConfig& c) {
  return c.private_data.phantom || !c.held_out.cases.empty() ? kPrivateData : c.private_data.raw;
}
Path held_out_images(const StudyConfig& c) {
  return c.held_out.images.empty() ? kHeldOutData / "imagesTr" : c.held_out.images;
}
Path held_out_truth(const StudyConfig& c) {
  return c.held_out.truth.empty() ? kHeldOutData / "labelsTr" : c.held_out.truth;
}

}  // namespace study_paths

namespace {

namespace at = study_paths;
using Words = std::vector<std::string>;

void append(Words& words, const Words& more) { words.insert(words.end(), more.begin(), more.end()); }

// Gathers jobs; a name that nobody made is no need: data that is on disk already.
class Builder {
 public:
  Builder(const StudyConfig& config, const MachineFlags& machine) : c_(config), machine_(machine) {}

  std::vector<Job> build() {
    phantoms("data-public", c_.public_data.phantom, at::kPublicData);
    phantoms("data-private", c_.private_data.phantom, at::kPrivateData);
    phantoms("data-held-out", c_.held_out.phantom, at::kHeldOutData);
    plans();
    for (const StudyModel& m : c_.models)
      for (const std::string& fold : c_.pretraining_folds())
        train("pretrain-" + m.name + "-" + fold, "pretrain", "pretrained", m, fold, {});
    for (const StudyModel& m : c_.models)
      for (const std::string& fold : c_.folds) fine_tune(m, fold);
    for (const StudyModel& m : c_.models)
      for (const std::string& fold : c_.folds)
        train("scratch-" + m.name + "-" + fold, "scratch", "scratch", m, fold, {});
    for (const StudySystem& system : study_systems(c_)) predict(system);
    for (const StudySystem& system : study_systems(c_))
      add({"evaluate-" + system.name(),
           "evaluate",
           with_threads({"evaluate", "--pred", at::predictions(system), "--truth", at::held_out_truth(c_), "--out",
                         at::scores(system)}),
           {"predict-" + system.name()},
           at::scores(system) / (c_.probabilities ? "calibration.csv" : "summary.json"),
           true});
    compare("paired", "omnibus.csv");
    compare("paper", "challenging.csv");
    Words needs{"compare-paired", "compare-paper"};
    if (c_.folds.size() > 1)
      for (const StudySystem& system : study_systems(c_)) needs.push_back(explain(system));
    add({"experts", "experts", with_threads({"experts", "."}), {"compare-paired"}, "experts/key.csv"});
    add({"report", "report", {"study", "study.json", "--out", ".", "--report"}, needs, "report/index.html"});
    return std::move(jobs_);
  }

 private:
  Words with_threads(Words words) const {
    append(words, machine_.threads);
    return words;
  }
  Words with_compute(Words words) const {
    append(words, machine_.compute);
    return with_threads(words);
  }
  void add(Job job) {
    std::erase_if(job.needs, [&](const std::string& name) {
      return std::none_of(jobs_.begin(), jobs_.end(), [&](const Job& j) { return j.name == name; });
    });
    jobs_.push_back(std::move(job));
  }

  void phantoms(const std::string& name, const std::optional<PhantomOptions>& options, const Path& out) {
    if (!options) return;
    const PhantomOptions& p = *options;
    Words words{"phantom",
                "--out",
                out,
                "--cases",
                std::to_string(p.cases),
                "--seed",
                std::to_string(p.seed),
                "--domain",
                p.domain,
                "--size",
                sentence(p.size[0], "x", p.size[1], "x", p.size[2])};
    if (!p.label_maps.empty()) words.push_back("--anatomy");
    for (const Path& map : p.label_maps) words.push_back(map);
    add({name, "data", with_threads(words), {}, out / "dataset.json"});
  }

  void plans() {
    const PlannerOptions& p = c_.plan;
    Words words{"plan",
                at::private_raw(c_),
                "--out",
                at::kPrivate,
                "--gpu-memory-gb",
                sentence(p.gpu_memory_gb),
                "--preset",
                p.preset,
                "--base-features",
                std::to_string(p.base_features)};
    if (p.patch_size)
      append(words, {"--patch-size", std::to_string((*p.patch_size)[0]), std::to_string((*p.patch_size)[1]),
                     std::to_string((*p.patch_size)[2])});
    if (p.batch_size > 0) append(words, {"--batch-size", std::to_string(p.batch_size)});
    append(words, {"--seed", std::to_string(c_.seed)});
    const Path plans_json = at::kPrivate / "plans.json", moved = at::kPublic / "plans.json";
    add({"plan-private", "plan-private", with_threads(words), {"data-private"}, plans_json});
    add({"plan-public",
         "plan-public",
         with_threads({"plan", at::public_raw(c_), "--out", at::kPublic, "--like", plans_json, "--seed",
                       std::to_string(c_.seed)}),
         {"data-public", "plan-private"},
         moved});
    preprocess("private", at::private_raw(c_), at::kPrivate);
    preprocess("public", at::public_raw(c_), at::kPublic);
  }

  void preprocess(const std::string& set, const Path& raw, const Path& out) {
    add({"preprocess-" + set,
         "preprocess",
         with_threads({"preprocess", raw, "--plans", out / "plans.json", "--out", out, "--config", c_.configuration,
                       "--seed", std::to_string(c_.seed)}),
         {"plan-" + set},
         out / "gt_segmentations"});
  }

  void train(const std::string& name, const std::string& stage, const std::string& regime, const StudyModel& m,
             const std::string& fold, const Words& more) {
    const bool pretraining = regime == "pretrained";
    Words words{"train",
                pretraining ? at::kPublic : at::kPrivate,
                "--fold",
                fold,
                "--network",
                m.network,
                "--loss",
                m.loss,
                "--config",
                c_.configuration,
                "--epochs",
                std::to_string(pretraining ? c_.pretraining_epochs : c_.training_epochs),
                "--iterations",
                std::to_string(c_.iterations),
                "--val-iterations",
                std::to_string(c_.val_iterations),
                "--seed",
                std::to_string(c_.seed),
                "--out",
                at::results(regime, m),
                "--resume"};
    if (m.lr) append(words, {"--lr", sentence(*m.lr)});
    append(words, more);
    Words needs{pretraining ? "preprocess-public" : "preprocess-private"};
    if (!more.empty()) needs.push_back(pretraining_job(m, fold));
    add({name, stage, with_compute(words), needs,
         at::model(regime, m, c_) / ("fold_" + fold) / "validation" / "summary.json", true});
  }

  std::string source_fold(const std::string& fold) const {
    return c_.pretraining_fold == "matched" ? fold : c_.pretraining_fold;
  }
  std::string pretraining_job(const StudyModel& m, const std::string& fold) const {
    return "pretrain-" + m.name + "-" + source_fold(fold);
  }
  void fine_tune(const StudyModel& m, const std::string& fold) {
    const Path from = at::model("pretrained", m, c_) / ("fold_" + source_fold(fold)) / "checkpoint_final.safetensors";
    train("fine-tune-" + m.name + "-" + fold, "fine-tune", "fine-tuned", m, fold, {"--pretrained", from});
  }

  // How the ensemble is asked, in every verb that does.
  Words asked(const StudySystem& system) const {
    Words words{"-i",          at::held_out_images(c_), "-m", at::model(name_of(system.regime), system.model, c_),
                "--step-size", sentence(c_.step_size)};
    if (!c_.mirroring) words.push_back("--disable-tta");
    words.push_back("-f");
    append(words, c_.folds);
    return words;
  }

  void predict(const StudySystem& system) {
    Words words{"predict", "-o", at::predictions(system)}, needs{"data-held-out"};
    append(words, asked(system));
    if (c_.probabilities) words.push_back("--save-probabilities");
    for (const std::string& fold : c_.folds)
      needs.push_back((system.regime == Regime::scratch ? "scratch-" : "fine-tune-") + system.model.name + "-" + fold);
    add({"predict-" + system.name(), "predict", with_compute(words), needs,
         at::predictions(system) / "predict_config.json", true});
  }

  // Where the folds differ in the challenging cases.
  std::string explain(const StudySystem& system) {
    Words words{"explain",
                "-o",
                at::explained(system),
                "--cases",
                at::kChallenging,
                "--at-most",
                std::to_string(kChallengingShown),
                "--what",
                "disagreement",
                "entropy"};
    append(words, asked(system));
    const std::string name = "explain-" + system.name();
    add({name,
         "explain",
         with_compute(words),
         {"compare-paper", "predict-" + system.name()},
         at::explained(system) / "index.html",
         true});
    return name;
  }

  void compare(const std::string& mode, const std::string& last_file) {
    Words words{"compare", "--mode", mode, "--seed", std::to_string(c_.seed), "--out", at::statistics(mode)}, needs;
    if (mode == "paired") append(words, {"--reference", c_.reference});
    words.push_back("--scores");
    for (const StudySystem& system : study_systems(c_)) {
      words.push_back(system.model.name + ":" + name_of(system.regime) + "=" +
                      (at::scores(system) / "scores.csv").string());
      needs.push_back("evaluate-" + system.name());
    }
    add({"compare-" + mode, "compare", words, needs, at::statistics(mode) / last_file});
  }

  const StudyConfig& c_;
  const MachineFlags& machine_;
  std::vector<Job> jobs_{};
};

}  // namespace

std::vector<StudySystem> study_systems(const StudyConfig& config) {
  std::vector<StudySystem> systems;
  for (const StudyModel& m : config.models)
    for (const Regime regime : {Regime::fine_tuned, Regime::scratch}) systems.push_back({m, regime});
  return systems;
}

std::vector<Job> study_jobs(const StudyConfig& config, const MachineFlags& machine) {
  return Builder(config, machine).build();
}

int64_t noted_time(const Path& file) {
  std::ifstream stream(file);
  int64_t seconds = 0;
  stream >> seconds;
  return seconds;
}

bool job_done(const Job& job, const Path& study) {
  namespace fs = std::filesystem;
  if (!fs::exists(study / at::done(job.name)) || fs::exists(study / at::partial(job.name)) ||
      !fs::exists(study / job.output))
    return false;
  const int64_t done = noted_time(study / at::done(job.name));
  return std::none_of(job.needs.begin(), job.needs.end(),
                      [&](const std::string& need) { return noted_time(study / at::done(need)) > done; });
}

}  // namespace metvox
