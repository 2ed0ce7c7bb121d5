// SPDX-License-Identifier: Apache-2.0
// Training one fold of one model, as nnU-Net 2.8.1's nnUNetTrainer does: epochs of training and validation
// batches, checkpoints after which a killed run goes on with the same bits, the log, and the sliding-window validation
// at the end.
#pragma once
#include <functional>
#include <optional>

#include "segmentation/networks/model.h"
#include "segmentation/training/augment.h"
#include "segmentation/training/checkpoint.h"
#include "segmentation/training/folds.h"
#include "segmentation/training/transfer.h"

namespace metvox {

struct TrainRequest {
  Path preprocessed, results;
  Path pretrained;                          // a checkpoint to start from, heads excepted; may be empty
  std::optional<NewChannels> new_channels;  // of a network whose pretrained one had other channels
  std::string network = "nnunet", loss, configuration = "3d_fullres", fold = "0";  // no loss: default_loss()
  std::optional<GroupBy> group_by;  // for folds that are made, else by patient
  int64_t epochs = 1000, iterations = 250, val_iterations = 50, save_every = 1;
  std::optional<double> lr;  // else the network's own
  Augmentation augmentation = Augmentation::bg2;
  uint64_t seed = 0;
  Target target;
  bool resume = false;              // go on from the last checkpoint
  bool overwrite = false;           // else, without resume, a fold that has a checkpoint is refused
  bool save_probabilities = false;  // of the validation cases, for ensembles
  // Keep the process, on the CPU, below so many bytes, of which `taken_bytes` are the program's without this training.
  // 0: what it takes.
  size_t max_bytes = 0, taken_bytes = 0;
  bool profile = false;  // profile.csv and trace.json of one step in the fold's folder, before the first step
};

// What a caller may show. An epoch is told after its checkpoint is written.
struct TrainEvents {
  std::function<void(const std::string&)> say = [](const std::string&) {};
  std::function<void(int64_t epoch, int64_t step, int64_t steps, double loss)> step = [](int64_t, int64_t, int64_t,
                                                                                         double) {};
  std::function<void(const EpochRecord&)> epoch = [](const EpochRecord&) {};
  std::function<void(int64_t done, int64_t cases, const std::string& id)> validation = [](int64_t, int64_t,
                                                                                          const std::string&) {};
};

// Bytes, all known before a step runs. The process needs the larger of the two sums, and what a bare program takes.
struct TrainMemory {
  LearnerMemory learner;
  size_t loader = 0;           // batches ahead and the workers' patches
  size_t cases = 0;            // mapped files
  bool cases_resident = true;  // false: more than there is room for; read from disk as needed
  size_t cases_at_once = 0;    // of those that are not, what the batches in the making look at
  int workers = 0;             // that make batches
  size_t training() const;
  size_t final_validation = 0;  // the predictor and the largest case on its way through it
};

class Trainer {
 public:
  // Reads plans, dataset, folds and case headers, plans the programs. Writes nothing.
  explicit Trainer(const TrainRequest& request);
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  Path model_folder() const;
  Path fold_folder() const;
  TrainMemory memory() const;
  const std::optional<Transfer>& transfer() const;  // with request.pretrained
  // Trains and validates; with request.resume what has been done stays done. Returns a sentence for each validation
  // case that failed. Throws Error (Fault::input) when the loss is not finite: the last checkpoint stays; Error
  // (Fault::usage) when checkpoints are there and neither resume nor overwrite is asked for.
  std::vector<std::string> run(const TrainEvents& events);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace metvox
