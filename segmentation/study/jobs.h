// SPDX-License-Identifier: Apache-2.0
// A study as a graph of jobs. A job is one command line of this program, run in the study's folder; what it needs are
// other jobs. It is done when jobs/NAME.done and its outputs are there: every verb writes its files whole, keeps those
// that are finished, and goes on where it was stopped, so a job may be begun again at any time. A job whose program
// left out some cases (exit code 5) also has jobs/NAME.partial: what needs it runs, and the next run tries it again.
#pragma once
#include <map>

#include "segmentation/data/shell_quoted.h"
#include "segmentation/study/config.h"
#include "segmentation/study/study_scores.h"

namespace metvox {

struct Job {
  std::string name, stage;             // jobs of a stage are alike: scratch-default-0 of scratch
  std::vector<std::string> arguments;  // verb first; paths start from the study's folder
  std::vector<std::string> needs;      // names of earlier jobs
  Path output;                         // the last thing that it writes
  // May cases be left out? Held-out ones and those of a fold's validation: what is left is still true of the others,
  // and named. Not those that a training would learn from.
  bool may_be_partial = false;
};

// Where to compute. Bits depend on it, so it is for those who run a study, not a part of it.
struct MachineFlags {
  std::vector<std::string> compute;  // of `train` and `predict`, such as --device cuda
  std::vector<std::string> threads;  // --threads N of all that take it, or nothing
};

// In an order in which they can run.
std::vector<Job> study_jobs(const StudyConfig& config, const MachineFlags& machine);

// A model as it was trained in one regime, and tested.
struct StudySystem {
  StudyModel model;
  Regime regime;
  std::string name() const { return model.name + "-" + name_of(regime); }
};
std::vector<StudySystem> study_systems(const StudyConfig& config);

// Where things lie, from the study's folder.
namespace study_paths {
inline const Path kPublicData = "data/public", kPrivateData = "data/private", kHeldOutData = "data/held-out";
inline const Path kPredictions = "predictions";
inline const Path kPublic = "preprocessed/public", kPrivate = "preprocessed/private";
Path results(const std::string& regime, const StudyModel& model);  // what `train --out` is given
// The model folder in it. regime: pretrained, fine-tuned, scratch.
Path model(const std::string& regime, const StudyModel& model, const StudyConfig& config);
Path predictions(const StudySystem& system);
Path scores(const StudySystem& system);
Path statistics(const std::string& mode);
Path explained(const StudySystem& system);
inline const Path kChallenging = "statistics/paper/challenging.csv";
Path public_raw(const StudyConfig& config);
Path private_raw(const StudyConfig& config);
Path held_out_images(const StudyConfig& config);
Path held_out_truth(const StudyConfig& config);
inline Path done(const std::string& job) { return Path("jobs") / (job + ".done"); }
inline Path partial(const std::string& job) { return Path("jobs") / (job + ".partial"); }
inline Path begun(const std::string& job) { return Path("jobs") / (job + ".begun"); }
inline Path log(const std::string& job) { return Path("jobs") / (job + ".log"); }
}  // namespace study_paths

// How many of the challenging cases are shown, and explained.
constexpr int64_t kChallengingShown = 3;

// Whole, and since what it needs was done.
bool job_done(const Job& job, const Path& study);
// Unix time in a file of jobs/; 0 where there is none.
int64_t noted_time(const Path& file);

// Makes the folder, study.json (the configuration) and, where cases of the private set are held out, its
// two parts, of links; parts that are right are left alone. All is looked at before anything is written: a folder with
// another study, or in which one runs, is an Error (Fault::usage), and so is one whose data/ holds other files than
// links; a case to hold out that is not there is one too (Fault::input), and a patient who would be in both parts.
void prepare_study(const StudyConfig& config, const Path& study);

std::string command_text(const Job& job);  // metvox VERB ...

// Makefile: `make -C STUDY -j N` runs what is not done; a job that another run is at fails. `program` is this program's
// path.
void write_makefile(const std::vector<Job>& jobs, const Path& study, const Path& program);
// slurm/STAGE.sbatch, an array each, and slurm/submit.sh, which hands them in with what they depend on. `bytes`: what a
// job needs, by name. A stage asks for what its largest job needs and half as much again; where one is not named, for
// nothing.
void write_slurm(const std::vector<Job>& jobs, const std::map<std::string, size_t>& bytes, const Path& study,
                 const Path& program);

}  // namespace metvox
