// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/learner.h"

#include <utility>

#include "tensor/async.h"

namespace metvox {
namespace {

RegionTable heads_table(const Labels& labels) {
  RegionTable table;
  for (const LabelTarget& head : labels.heads()) {
    if (table.count == RegionTable::kMaxHeads)
      fail(Fault::input, "dataset.json names more than ", RegionTable::kMaxHeads, " regions or labels");
    uint64_t bits = 0;
    for (int label : head.labels) {
      if (label < 0 || label >= 64)
        fail(Fault::input, "dataset.json: label ", label, " of \"", head.name, "\" is not in 0..63");
      bits |= uint64_t{1} << label;
    }
    table.labels[static_cast<size_t>(table.count++)] = bits;
  }
  return table;
}

const SegmentationLoss& loss_for(const std::string& name, const Labels& labels) {
  const SegmentationLoss& loss = find_loss(name);
  if (loss.softmax == labels.has_regions())
    fail(Fault::usage, "--loss ", name, " is for ", loss.softmax ? "exclusive labels" : "regions",
         ", but dataset.json names ", labels.has_regions() ? "regions" : "exclusive labels", "; use --loss ",
         default_loss(labels));
  return loss;
}

void require_divisible(const Configuration& configuration, const std::string& network, const Int3& divisor) {
  const Int3 patch = configuration.patch();
  bool divisible = true;
  std::string larger;
  for (size_t a = 0; a < 3; ++a) {
    divisible = divisible && patch[a] % divisor[a] == 0;
    larger += sentence(' ', (patch[a] + divisor[a] - 1) / divisor[a] * divisor[a]);
  }
  if (divisible) return;
  const std::string remedy = configuration.patch_size.size() == 2 ? "use a 3-D configuration of the plan"
                                                                  : "plan again with --patch-size" + larger;
  fail(Fault::input, network, " needs a patch whose extents are multiples of ", Shape(divisor), ", but the plan's is ",
       Shape(patch), "; ", remedy);
}

}  // namespace

std::string default_loss(const Labels& labels) { return labels.has_regions() ? "dice-bce" : "dice-ce"; }

Learner::Learner(const LearnerOptions& options, const Configuration& configuration, const Labels& labels)
    : kind_(find_network(options.network)),
      background_head_(!labels.has_regions()),
      store_(DType::f32, options.target.device),
      stream_(options.target.device),
      copies_(options.target.device) {
  const SegmentationLoss& loss = loss_for(options.loss, labels);
  const RegionTable heads = heads_table(labels);
  network_ = kind_.make(store_, configuration, options.channels, heads.count);
  const DeepSupervision levels = DeepSupervision::halving(network_->outputs());
  require_divisible(configuration, options.network, network_->divisor());
  const Int3 patch = configuration.patch();
  images_ = graph_.input(
      "images", {{configuration.batch_size, options.channels, patch[0], patch[1], patch[2]}, Kind::activation});
  labels_ = graph_.input("labels", {{configuration.batch_size, patch[0], patch[1], patch[2]}, Kind::labels});
  const auto logits = network_->build(images_, static_cast<int>(levels.weights.size()));
  loss_ = segmentation_loss(logits, labels_, loss, heads, levels, configuration.batch_dice, labels.ignore_label());
  const auto arena = std::make_shared<Arena>(options.target.device);
  const auto program = [&](Mode mode) {
    return std::make_unique<Program>(graph_, std::vector<Value>{loss_}, mode, options.target, store_.buffers(mode),
                                     arena);
  };
  train_ = program(Mode::train);
  validate_ = program(Mode::infer);
  const TrainingDefaults& d = kind_.defaults;
  OptimizerOptions o{d.momentum, d.weight_decay, d.eps};
  o.rules.adapt_loss_scale = options.target.dtype == DType::f16;
  optimizer_ = make_optimizer(d.optimizer, store_, o);
  if (o.rules.adapt_loss_scale) train_->scale_loss(optimizer_->loss_scale());
}

StepResult Learner::train(const Batch& batch, double lr) {
  upload(batch);
  start(lr);
  return finish();
}

StepResult Learner::validate(const Batch& batch) {
  upload(batch);
  start_validation();
  return finish();
}

void Learner::upload(const Batch& batch) {
  batch_ = &batch;
  const Device device = stream_.device();
  if (device.is_cpu()) return;
  if (!images_there_) {
    images_there_ = Tensor::empty(images_.shape(), DType::f32, device, "uploaded images");
    labels_there_ = Tensor::empty(labels_.shape(), DType::u8, device, "uploaded labels");
  }
  const auto copy = batch.images.device().is_cpu() ? begin_upload : transfer;
  copy(copies_, batch.images.view(), images_there_.view());
  copy(copies_, batch.labels.view(), labels_there_.view());
}

// A program's inputs share memory with what it computes, so an upload goes elsewhere first.
void Learner::take_batch(Program& program) {
  check(batch_, "Learner: no batch was uploaded");
  copies_.synchronize();
  const bool on_cpu = stream_.device().is_cpu();
  program.set(stream_, images_, on_cpu ? batch_->images.view() : images_there_.view());
  program.set(stream_, labels_, on_cpu ? batch_->labels.view() : labels_there_.view());
  wait_for(copies_, stream_);  // the next upload may overwrite this one from here on
}

void Learner::start(double lr) {
  take_batch(*train_);
  optimizer_->set_lr(stream_, lr);
  step_.run(stream_, [this] {
    store_.changed();  // also where the step before was not run by this code: weights are packed in every step
    train_->run(stream_);
    optimizer_->step(stream_, store_, train_->trained());
  });
  store_.changed();
  started_ = train_.get();
}

void Learner::start_validation() {
  take_batch(*validate_);
  validate_->run(stream_);
  started_ = validate_.get();
}

std::vector<Program::Timing> Learner::profile() {
  constexpr int kRuns = 5;
  std::vector<Program::Timing> best;
  double best_ms = 0;
  for (int run = 0; run < kRuns; ++run) {
    take_batch(*train_);
    auto steps = train_->time(stream_);
    double ms = 0;
    for (const auto& s : steps) ms += s.forward.ms + s.backward.ms;
    if (!best.empty() && ms >= best_ms) continue;
    best = std::move(steps);
    best_ms = ms;
  }
  return best;
}

StepResult Learner::finish() {
  check(started_, "Learner: no step was started");
  const Tensor y = started_->read(stream_, loss_);
  const float* values = y.data<float>();
  const int64_t heads = (y.size() - 3) / 3;
  StepResult r;
  r.loss = static_cast<double>(values[0]);
  for (int64_t h = background_head_ ? 1 : 0; h < heads; ++h) {
    r.tp.push_back(static_cast<double>(values[3 + h]));
    r.fp.push_back(static_cast<double>(values[3 + heads + h]));
    r.fn.push_back(static_cast<double>(values[3 + 2 * heads + h]));
  }
  if (std::exchange(started_, nullptr) != train_.get()) return r;
  const StepControl control = optimizer_->control(stream_);
  r.gradient_norm = control.norm;
  r.skipped = control.skip != 0;
  return r;
}

LearnerMemory Learner::memory() const {
  LearnerMemory m;
  m.arena = std::max(train_->arena_bytes(), validate_->arena_bytes());
  m.validation_arena = validate_->arena_bytes();
  for (const Buffer& b : train_->plan().buffers())
    if (b.role == Buffer::Role::scratch) m.scratch = std::max(m.scratch, b.bytes);
  m.weights = m.gradients = store_.bytes();
  for (const auto& [name, tensor] : optimizer_->state()) m.optimizer += tensor.bytes();
  if (!stream_.device().is_cpu())
    m.input = Spec{images_.shape(), DType::f32}.bytes() + Spec{labels_.shape(), DType::u8}.bytes();
  m.packed = train_->packed_bytes() + validate_->packed_bytes();
  return m;
}

}  // namespace metvox
