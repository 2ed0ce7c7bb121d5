// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/preprocess.h"

#include <utility>

#include "io/nifti.h"
#include "segmentation/data/case_fault.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace metvox {
namespace {

struct Request {
  Path raw, plans, out;
  std::vector<std::string> configurations{"3d_fullres"};
};

// What the cases of a data set have in common; the count of cases may grow.
Json meaning(const DatasetDescription& d) {
  return {d.channel_names, d.labels.labels_json(), d.labels.regions_class_order};
}

// Folders, and plans.json and dataset.json beside the cases: what `train` reads. Cases of another plan, or with other
// channels or labels, must not be mixed in.
void prepare_folder(const Request& r, const Plans& plans, const DatasetDescription& description) {
  for (const auto& name : r.configurations) make_folder(r.out / plans.configuration(name, r.plans).data_identifier);
  make_folder(r.out / "gt_segmentations");
  const Path kept = r.out / "plans.json";
  if (!std::filesystem::exists(kept)) write_json(kept, to_json(plans));
  else if (to_json(read_plans(kept)) != to_json(plans))
    fail(Fault::usage, kept.string(), " differs from ", r.plans.string(), "; preprocess to a folder of its own");
  const Path dataset = r.out / "dataset.json";
  if (std::filesystem::exists(dataset) && meaning(read_description(dataset)) != meaning(description))
    fail(Fault::usage, dataset.string(), " has other channels or labels than ", r.raw.string(),
         "; preprocess to a folder of its own");
  write_json(dataset, description.json);
}

// One case for every configuration, and its labels on the images' grid for the validation after training.
void preprocess(const CaseFiles& files, const Request& r, const Plans& plans, const Labels& labels, uint64_t seed,
                Progress& progress) {
  CaseImages images = read_case(files);
  const Geometry grid = images.geometry;
  for (const std::string& w : images.warnings) progress.line("metvox preprocess: warning: " + named_case(files.id, w));
  const Tensor truth = read_case_labels(files, grid, labels);
  for (const auto& name : r.configurations) {
    const Configuration& configuration = plans.configuration(name, r.plans);
    const bool last = &name == &r.configurations.back();
    write_preprocessed(r.out / configuration.data_identifier / (files.id + ".safetensors"),
                       preprocess_case(files.id, last ? sequences_of(std::move(images)) : sequences_of(images), truth,
                                       plans, configuration, labels, seed));
  }
  write_nifti(r.out / "gt_segmentations" / (files.id + ".nii.gz"), truth, grid, {kIntentLabel, ""});
}

// The labels are written last.
bool finished(const std::string& id, const Request& r, const Plans& plans) {
  for (const auto& name : r.configurations)
    if (!std::filesystem::exists(r.out / plans.configuration(name, r.plans).data_identifier / (id + ".safetensors")))
      return false;
  return std::filesystem::exists(r.out / "gt_segmentations" / (id + ".nii.gz"));
}

struct Outcome {
  int64_t done = 0, skipped = 0, not_begun = 0;
  std::vector<std::string> faults;
  bool memory = false;
};

Outcome preprocess_all(const RawDataset& dataset, const Request& r, const Plans& plans, const CommandLine& line,
                       Outcome outcome) {
  Progress progress("preprocess", "cases", line.values().quiet);
  const auto total = static_cast<int64_t>(dataset.training.size());
  int64_t seen = 0;
  for (const CaseFiles& files : dataset.training) {
    const auto fault = try_case(files.id, [&] {
      if (finished(files.id, r, plans)) ++outcome.skipped;
      else preprocess(files, r, plans, dataset.description.labels, line.values().seed, progress), ++outcome.done;
    });
    if (fault) {
      outcome.memory = outcome.memory || fault->fault == Fault::memory;
      outcome.faults.push_back(fault->text);
      progress.line("metvox preprocess: " + fault->text);
    }
    progress.update(++seen, total);
    if (!fault || !fault->stop) continue;
    outcome.not_begun = total - seen;
    break;
  }
  return outcome;
}

void report(const CommandLine& line, const Request& r, const Outcome& outcome, int64_t total) {
  if (outcome.not_begun > 0) line.warn(not_begun_sentence(outcome.not_begun, r.out));
  if (line.values().json)
    print_json({{"out", r.out.string()},
                {"cases", total},
                {"done", outcome.done},
                {"skipped", outcome.skipped},
                {"not_begun", outcome.not_begun},
                {"faults", outcome.faults}});
  else if (line.values().dry_run)
    line.say(total - outcome.skipped, " of ", counted(total, "case"), " would be preprocessed to ", r.out.string());
  else
    line.say(counted(outcome.done, "case"), " preprocessed, ", outcome.skipped, outcome.skipped == 1 ? " was" : " were",
             " finished before, ", outcome.faults.size(), " failed; in ", r.out.string());
}

int run(CommandLine& line) {
  Request r;
  line.positional("RAW", r.raw, "raw data set");
  line.option("plans,p", r.plans, "PLANS.json", "what `metvox plan` wrote", Need::required);
  line.option("out,o", r.out, "PREPROCESSED", "folder to write; finished cases there are kept", Need::required);
  line.option("config,c", r.configurations, "NAME", "configurations of the plan to preprocess for, such as 2d");
  line.common({Common::seed, Common::threads, Common::json, Common::quiet, Common::dry_run});
  if (!line.parse()) return 0;
  const Plans plans = read_plans(r.plans);
  for (const auto& name : r.configurations) plans.configuration(name, r.plans);
  Outcome outcome;
  const RawDataset dataset = open_raw_dataset(r.raw, &outcome.faults);
  for (const auto& fault : outcome.faults) line.warn(fault);
  if (line.values().dry_run) {
    for (const CaseFiles& files : dataset.training) outcome.skipped += finished(files.id, r, plans);
  } else {
    prepare_folder(r, plans, dataset.description);
    outcome = preprocess_all(dataset, r, plans, line, std::move(outcome));
  }
  const auto total = static_cast<int64_t>(dataset.training.size());
  report(line, r, outcome, total);
  if (outcome.faults.empty()) return 0;
  if (outcome.done + outcome.skipped > 0 || line.values().dry_run) return code(Fault::partial);
  return code(outcome.memory ? Fault::memory : Fault::input);
}

const VerbEntry entry{{"preprocess", Stage::data, "crop, normalise and resample every case as the plans say",
                       "metvox preprocess raw --plans preprocessed/plans.json --out preprocessed", run}};

}  // namespace
}  // namespace metvox
