// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/preprocess.h"

#include <optional>
#include <utility>

#include "io/nifti.h"
#include "segmentation/data/case_fault.h"
#include "segmentation/data/preprocess_memory.h"
#include "segmentation/data/system_memory.h"
#include "tools/byte_size.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace metvox {
namespace {

struct Request {
  Path raw, plans, out;
  std::vector<std::string> configurations{"3d_fullres"};
  std::optional<ByteSize> max_ram;
  bool one_by_one = false;  // sequences are read twice, so that one is held at a time
};

// The count of cases may grow.
bool same_channels_and_labels(const DatasetDescription& a, const DatasetDescription& b) {
  return a.channel_names == b.channel_names && a.labels == b.labels;
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
  if (std::filesystem::exists(dataset) && !same_channels_and_labels(read_description(dataset), description))
    fail(Fault::usage, dataset.string(), " has other channels or labels than ", r.raw.string(),
         "; preprocess to a folder of its own");
  write_json(dataset, description.json);
}

// One case for every configuration, and its labels on the images' grid for the validation after training.
void preprocess(const CaseFiles& files, const Request& r, const Plans& plans, const Labels& labels, uint64_t seed,
                Progress& progress) {
  std::vector<std::string> warnings;
  const auto tell = [&] {
    for (const std::string& w : warnings) progress.line("metvox preprocess: warning: " + named_case(files.id, w));
    warnings.clear();
  };
  CaseImages images;
  SequenceSource from_disk;
  if (r.one_by_one) from_disk = sequences_of(files, warnings);
  else images = read_case(files), warnings = images.warnings;
  tell();
  const Geometry grid = r.one_by_one ? from_disk.geometry : images.geometry;
  const Tensor truth = read_case_labels(files, grid, labels);
  for (const auto& name : r.configurations) {
    const Configuration& configuration = plans.configuration(name, r.plans);
    const bool last = &name == &r.configurations.back();
    const SequenceSource sequences = r.one_by_one ? from_disk
                                     : last       ? sequences_of(std::move(images))
                                                  : sequences_of(images);
    write_preprocessed(r.out / configuration.data_identifier / (files.id + ".safetensors"),
                       preprocess_case(files.id, sequences, truth, plans, configuration, labels, seed));
    tell();
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

// Of the cases that are still to be done; those that cannot be read say so when it is their turn.
PreprocessPeaks peaks_of(const RawDataset& dataset, const Request& r, const Plans& plans) {
  std::vector<const Configuration*> configurations;
  for (const auto& name : r.configurations) configurations.push_back(&plans.configuration(name, r.plans));
  std::vector<PreprocessNeeds> needs;
  for (const CaseFiles& files : dataset.training)
    if (!finished(files.id, r, plans))
      try_case(files.id,
               [&] { needs.push_back(preprocess_needs(files, plans, configurations, dataset.description.labels)); });
  return preprocess_peaks(needs, resident_bytes().now);
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

void report(const CommandLine& line, const Request& r, const Outcome& outcome, int64_t total,
            const PreprocessPeaks& peaks) {
  if (outcome.not_begun > 0) line.warn(not_begun_sentence(outcome.not_begun, r.out));
  if (line.values().json)
    print_json({{"out", r.out.string()},
                {"cases", total},
                {"done", outcome.done},
                {"skipped", outcome.skipped},
                {"not_begun", outcome.not_begun},
                {"sum_bytes", r.one_by_one ? peaks.one_by_one : peaks.at_once},
                {"least_bytes", peaks.one_by_one},
                {"faults", outcome.faults}});
  else if (line.values().dry_run)
    line.say(total - outcome.skipped, " of ", counted(total, "case"), " would be preprocessed to ", r.out.string(),
             "; the process at most ", mebibytes(r.one_by_one ? peaks.one_by_one : peaks.at_once), " MiB, at least ",
             mebibytes(peaks.one_by_one), " with --max-ram");
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
  line.option("max-ram", r.max_ram, "SIZE", "keep the process below this much memory, such as 4G; same result, slower");
  line.common({Common::seed, Common::threads, Common::json, Common::quiet, Common::dry_run});
  if (!line.parse()) return 0;
  give_back_what_is_freed();
  const Plans plans = read_plans(r.plans);
  for (const auto& name : r.configurations) plans.configuration(name, r.plans);
  Outcome outcome;
  const RawDataset dataset = open_raw_dataset(r.raw, &outcome.faults);
  for (const auto& fault : outcome.faults) line.warn(fault);
  const PreprocessPeaks peaks = peaks_of(dataset, r, plans);
  if (r.max_ram) r.one_by_one = must_read_one_by_one(peaks, r.max_ram->bytes);
  if (line.values().dry_run) {
    for (const CaseFiles& files : dataset.training) outcome.skipped += finished(files.id, r, plans);
  } else {
    prepare_folder(r, plans, dataset.description);
    outcome = preprocess_all(dataset, r, plans, line, std::move(outcome));
  }
  const auto total = static_cast<int64_t>(dataset.training.size());
  report(line, r, outcome, total, peaks);
  if (outcome.faults.empty()) return 0;
  if (outcome.done + outcome.skipped > 0 || line.values().dry_run) return code(Fault::partial);
  return code(outcome.memory ? Fault::memory : Fault::input);
}

const VerbEntry entry{{"preprocess", Stage::data, "crop, normalise and resample every case as the plans say",
                       "metvox preprocess raw --plans preprocessed/plans.json --out preprocessed", run}};

}  // namespace
}  // namespace metvox
