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
  size_t input = 0;  // on a GPU, the next batch
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
  // The same in three parts, so that a batch travels to a GPU while that works on the one before: between start() and
  // finish() the next batch may be uploaded. A batch must stay as it is until the start() after its upload returns; any
  // number of steps may be made of it.
  void upload(const Batch& batch);
  void start(double lr);  // a step of training
  void start_validation();
  StepResult finish();
  // Times the steps of forward and backward on the batch uploaded last, weights unchanged: the fastest of a few runs.
  std::vector<Program::Timing> profile();

  ParameterStore& store() { return store_; }
  Optimizer& optimizer() { return *optimizer_; }
  const TrainingDefaults& defaults() const { return kind_.defaults; }
  LearnerMemory memory() const;

 private:
  void take_batch(Program& program);
  const NetworkKind& kind_;
  bool background_head_;  // the first head is background and not reported
  ParameterStore store_;
  std::unique_ptr<Network> network_;
  Graph graph_;
  Value images_, labels_, loss_;
  std::unique_ptr<Program> train_, validate_;
  std::unique_ptr<Optimizer> optimizer_;
  Stream stream_, copies_;
  Replay step_;
  const Batch* batch_ = nullptr;        // uploaded last
  Tensor images_there_, labels_there_;  // it, on a GPU
  const Program* started_ = nullptr;    // whose result is to be read
};

// dice-bce with regions, dice-ce with labels.
std::string default_loss(const Labels& labels);

}  // namespace metvox
