// SPDX-License-Identifier: Apache-2.0
// What a study is: data sets, models, folds, budgets. Read from a JSON file whose keys docs/study.md lists; a key that
// is not among them is refused by name. What the file leaves out comes from a scale: "paper" is Luu et al. 2024, "demo"
// is small enough for two CPU cores.
#pragma once
#include <optional>

#include "segmentation/data/plans.h"
#include "segmentation/phantom/phantom.h"

namespace metvox {

// A data set on disk or a cohort that is made; one of the two.
struct StudyData {
  Path raw;
  std::optional<PhantomOptions> phantom;
};

// The cases that no training sees. One of: folders, cases of the private set, a cohort that is made.
struct HeldOut {
  Path images, truth;
  std::vector<std::string> cases;
  std::optional<PhantomOptions> phantom;
};

struct StudyModel {
  std::string name;  // letters, digits, - and _
  std::string network, loss;
  std::optional<double> lr;  // else the network's own
};

struct StudyConfig {
  std::string scale = "paper";
  StudyData public_data, private_data;
  HeldOut held_out;
  PlannerOptions plan;  // of the private set; the public one takes its plans
  std::string configuration = "3d_fullres";
  std::vector<StudyModel> models;
  std::vector<std::string> folds;  // of the private set
  uint64_t seed = 0;
  // The fold of the public set that a fine-tuning starts from: "matched" is that of its own number, else one for all.
  std::string pretraining_fold = "matched";
  int64_t pretraining_epochs = 0, training_epochs = 0;  // fine-tuning and scratch are given the same
  int64_t iterations = 250, val_iterations = 50;
  bool mirroring = true, probabilities = true;  // probabilities: kept, for FROC and calibration
  double step_size = 0.5;
  std::string reference;  // the model that the others are compared with

  const StudyModel& model(const std::string& name) const;
  // Folds to pre-train.
  std::vector<std::string> pretraining_folds() const;
};

// `json` as in the file `where`, whose folder relative paths start from. `scale` is empty where the file's own, else
// "paper", counts. Throws Error (Fault::input) naming file, key and what is expected.
StudyConfig study_config(const Json& json, const Path& where, const std::string& scale = "");
// Every key with its value: study_config() gives the same from it.
Json to_json(const StudyConfig& config);

}  // namespace metvox
