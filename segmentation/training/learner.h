// SPDX-License-Identifier: Apache-2.0
// Learner: a network that is being trained. Its parameters, its loss, the programs for training and validation (which
// take turns in one arena) and its optimizer.
#pragma once
#include "layers/loss.h"
#include "layers/optimizer.h"
#include "segmentation/networks/network.h"
#include "segmentation/training/sampler.h"
#include "tensor/replay.h"

namespace metvox {

// What one batch gave. tp, fp, fn: voxels of each target of Labels::foreground(), of the highest resolution.
struct StepResult {
  double loss = 0;
  double gradient_norm = 0;  // before clipping; 0 in validation
  bool skipped = false;      // a gradient was not finite, the weights are as before (f16 lowers its loss scale)
  std::vector<double> tp, fp, fn;
};

struct LearnerMemory {
  size_t arena = 0, validation_arena = 0;  // the validation program's share lies within the arena
  size_t scratch = 0;                      // the largest of any step, within the arena
  size_t weights = 0, gradients = 0, optimizer = 0, packed = 0;
};

struct LearnerOptions {
  std::string network, loss;
  int channels = 0;
  Target target;
};

class Learner {
 public:
  // Throws Error (Fault::usage) on names that do not exist, and on a loss that does not fit the labels.
  Learner(const LearnerOptions& options, const Configuration& configuration, const Labels& labels);

  StepResult train(const Batch& batch, double lr);
  StepResult validate(const Batch& batch);
  // Times the steps of forward and backward on the batch, weights unchanged: the fastest of a few runs.
  std::vector<Program::Timing> profile(const Batch& batch);

  ParameterStore& store() { return store_; }
  Optimizer& optimizer() { return *optimizer_; }
  const TrainingDefaults& defaults() const { return kind_.defaults; }
  LearnerMemory memory() const;

 private:
  StepResult result(const Program& program);
  const NetworkKind& kind_;
  bool background_head_;  // the first head is background and not reported
  ParameterStore store_;
  std::unique_ptr<Network> network_;
  Graph graph_;
  Value images_, labels_, loss_;
  std::unique_ptr<Program> train_, validate_;
  std::unique_ptr<Optimizer> optimizer_;
  Stream stream_;
  Replay step_;
};

// dice-bce with regions, dice-ce with labels.
std::string default_loss(const Labels& labels);

}  // namespace metvox
