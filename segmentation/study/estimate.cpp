// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/estimate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "io/nifti.h"
#include "segmentation/data/preprocess.h"
#include "segmentation/data/system_memory.h"
#include "segmentation/inference/sliding_window.h"
#include "segmentation/training/learner.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

namespace at = study_paths;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// A set by its first case.
struct Sample {
  DatasetDescription description;
  int64_t cases = 0;
  CaseImages images;
  Tensor labels;               // empty: none
  double make_seconds = 0;     // of a phantom
  double prepare_seconds = 0;  // reading and preprocessing it
  Int3 shape{};                // as preprocessed
  size_t raw_bytes() const { return images.data.bytes(); }
  size_t prepared_bytes() const {
    return static_cast<size_t>(volume(shape)) * (sizeof(float) * description.channel_names.size() + 1);
  }
};

CaseImages images_of(const PhantomCase& p) {
  std::vector<Volume> volumes;
  std::vector<Path> names;
  for (const Tensor& sequence : p.sequences) {
    Volume v;
    v.voxels = Tensor::empty(sequence.shape(), DType::f32);
    std::copy_n(sequence.data<int16_t>(), sequence.size(), v.voxels.data<float>());
    v.geometry = p.geometry;
    volumes.push_back(std::move(v));
    names.push_back(p.id);
  }
  return join_sequences(p.id, names, std::move(volumes));
}

Sample phantom_sample(const PhantomOptions& options) {
  Sample s;
  s.description = brats_description("");
  s.cases = s.description.num_training = options.cases;
  PhantomCase made;
  s.make_seconds = seconds_of([&] { made = make_phantom(options, 0); });
  s.images = images_of(made);
  s.labels = made.labels;
  return s;
}

Sample file_sample(const CaseFiles& files, const DatasetDescription& description, size_t cases) {
  Sample s;
  s.description = description;
  s.cases = static_cast<int64_t>(cases);
  s.prepare_seconds = seconds_of([&] { s.images = read_case(files); });
  if (!files.label.empty()) s.labels = read_case_labels(files, s.images.geometry, description.labels);
  return s;
}

Sample set_sample(const StudyData& data, const StudyConfig& config) {
  if (data.phantom) return phantom_sample(*data.phantom);
  const RawDataset all = open_raw_dataset(data.raw, nullptr);
  const size_t held_out = &data == &config.private_data ? config.held_out.cases.size() : 0;
  return file_sample(all.training.front(), all.description, all.training.size() - held_out);
}

Sample held_out_sample(const StudyConfig& config, const Sample& private_set) {
  if (config.held_out.phantom) return phantom_sample(*config.held_out.phantom);
  if (!config.held_out.cases.empty()) {
    Sample s = private_set;
    s.cases = static_cast<int64_t>(config.held_out.cases.size());
    return s;
  }
  const auto inputs = find_inputs(config.held_out.images, private_set.description.channel_names, nullptr);
  return file_sample(inputs.front(), private_set.description, inputs.size());
}

// Of one case that stands for all.
Fingerprint fingerprint_of(const Sample& s) {
  const CropBox box = bounding_box(nonzero_mask(s.images.data));
  Fingerprint f;
  const auto& spacing = s.images.geometry.spacing_mm;
  f.spacings_mm = {{spacing[2], spacing[1], spacing[0]}};
  Int3 shape{}, whole{};
  for (size_t a = 0; a < 3; ++a) {
    shape[a] = box.last[a] - box.first[a];
    whole[a] = s.images.data.shape()[static_cast<int>(a) + 1];
  }
  f.shapes_after_crop = {shape};
  f.intensities.resize(s.description.channel_names.size());
  f.median_relative_size_after_cropping = static_cast<double>(volume(shape)) / static_cast<double>(volume(whole));
  return f;
}

Plans plans_of(const StudyConfig& config, const Sample& private_set, const Path& study) {
  const Path made = study / at::kPrivate / "plans.json";
  if (std::filesystem::exists(made)) return read_plans(made);
  if (config.private_data.phantom) return make_plans(fingerprint_of(private_set), private_set.description, config.plan);
  return make_plans(make_fingerprint(open_raw_dataset(config.private_data.raw, nullptr), config.seed),
                    private_set.description, config.plan);
}

void prepare(Sample& s, const Plans& plans, const Configuration& configuration, uint64_t seed) {
  PreprocessedCase c;
  s.prepare_seconds += seconds_of(
      [&] { c = preprocess_case("estimate", s.images, s.labels, plans, configuration, s.description.labels, seed); });
  for (size_t a = 0; a < 3; ++a) s.shape[a] = c.data.shape()[static_cast<int>(a) + 1];
}

// A network in training.
struct Pace {
  LearnerMemory memory;
  size_t loader_bytes = 0;
  double train_seconds = 0, validate_seconds = 0;  // a batch; 0: not measured
};

Batch noise_batch(const Configuration& c, int channels) {
  const Int3 n = c.patch();
  Batch batch{Tensor::empty({c.batch_size, channels, n[0], n[1], n[2]}, DType::f32),
              Tensor::zeros({c.batch_size, n[0], n[1], n[2]}, DType::u8)};
  Random random(0, 0);
  for (float *x = batch.images.data<float>(), *end = x + batch.images.size(); x != end; ++x)
    *x = static_cast<float>(random.uniform(-2, 2));
  for (uint8_t *x = batch.labels.data<uint8_t>(), *end = x + batch.labels.size(); x != end; ++x)
    *x = static_cast<uint8_t>((x - batch.labels.data<uint8_t>()) % 4);
  return batch;
}

// The better of two runs after one that touches the memory; that one, where it takes long.
double pace_of(const std::function<void()>& run) {
  const double first = seconds_of(run);
  return first > 1 ? first : std::min(seconds_of(run), seconds_of(run));
}

Pace pace_of(const StudyModel& m, const Configuration& c, const Labels& labels, int channels, const Target& target,
             std::vector<std::string>& notes) {
  Pace pace;
  Learner learner({m.network, m.loss, channels, target}, c, labels);
  pace.memory = learner.memory();
  LoaderPlan loader;
  loader.train.window = patch_geometry(c.patch()).initial;
  loader.channels = channels;
  loader.batch_size = c.batch_size;
  loader.patch = c.patch();
  loader.workers = threads();
  pace.loader_bytes = loader.bytes();
  const size_t bytes = pace.memory.arena + pace.memory.weights + pace.memory.gradients + pace.memory.optimizer +
                       pace.memory.packed + pace.loader_bytes;
  if (const size_t there = system_memory().available; target.device.is_cpu() && there > 0 && bytes > there) {
    notes.push_back(sentence(m.name, ": a step needs ", bytes >> 20, " MiB, this machine has ", there >> 20,
                             " MiB to spare; no time is given"));
    return pace;
  }
  learner.store().initialize(0);
  const Batch batch = noise_batch(c, channels);
  pace.train_seconds = pace_of([&] { learner.train(batch, 1e-4); });
  pace.validate_seconds = pace_of([&] { learner.validate(batch); });
  return pace;
}

class Estimator {
 public:
  Estimator(const StudyConfig& config, const Path& study, const Target& target) : c_(config), target_(target) {
    public_ = set_sample(c_.public_data, c_);
    private_ = set_sample(c_.private_data, c_);
    held_out_ = held_out_sample(c_, private_);
    plans_ = plans_of(c_, private_, study);
    configuration_ = plans_.configuration(c_.configuration, "the plan");
    for (Sample* s : {&public_, &private_, &held_out_}) prepare(*s, plans_, configuration_, c_.seed);
    for (const StudyModel& m : c_.models)
      paces_[m.name] = pace_of(m, configuration_, private_.description.labels,
                               static_cast<int>(private_.description.channel_names.size()), target_, out_.notes);
  }

  StudyEstimate estimate(const std::vector<Job>& jobs) {
    for (const Job& job : jobs) {
      if (job.name == "data-public") phantoms(job, public_);
      if (job.name == "data-private") phantoms(job, private_);
      if (job.name == "data-held-out") phantoms(job, held_out_);
      if (job.name == "preprocess-public") preprocessing(job, public_);
      if (job.name == "preprocess-private") preprocessing(job, private_);
    }
    for (const StudyModel& m : c_.models) {
      for (const std::string& fold : c_.pretraining_folds())
        training("pretrain-" + m.name + "-" + fold, m, public_, fold, c_.pretraining_epochs);
      for (const std::string& fold : c_.folds)
        for (const char* stage : {"fine-tune-", "scratch-"})
          training(stage + m.name + "-" + fold, m, private_, fold, c_.training_epochs);
    }
    for (const StudySystem& system : study_systems(c_)) prediction(system);
    return std::move(out_);
  }

 private:
  void phantoms(const Job& job, const Sample& s) {
    out_.jobs[job.name] = {s.raw_bytes(), s.make_seconds * static_cast<double>(s.cases)};
  }
  // Reading holds every sequence twice.
  static size_t preparing_bytes(const Sample& s) { return s.raw_bytes() + std::max(s.raw_bytes(), s.prepared_bytes()); }
  void preprocessing(const Job& job, const Sample& s) {
    out_.jobs[job.name] = {preparing_bytes(s), s.prepare_seconds * static_cast<double>(s.cases)};
  }

  // The network over a case, with `folds` models.
  double windows_seconds(const StudyModel& m, const Sample& s, bool mirroring, double step_size, size_t folds) const {
    Int3 size = s.shape;
    const Int3 patch = configuration_.patch();
    for (size_t a = 0; a < 3; ++a) size[a] = std::max(size[a], patch[a]);
    const auto runs = static_cast<double>(SlidingWindows(size, patch, step_size).count()) * (mirroring ? 8 : 1);
    return runs * static_cast<double>(folds) * paces_.at(m.name).validate_seconds / configuration_.batch_size;
  }

  void training(const std::string& name, const StudyModel& m, const Sample& s, const std::string& fold,
                int64_t epochs) {
    constexpr int64_t kFolds = 5;
    const Pace& pace = paces_.at(m.name);
    const int64_t validated = fold == "all" ? s.cases : (s.cases + kFolds - 1) / kFolds;
    JobEstimate& job = out_.jobs[name];
    job.bytes = pace.memory.arena + pace.memory.weights + pace.memory.gradients + pace.memory.optimizer +
                pace.memory.packed + pace.loader_bytes + static_cast<size_t>(s.cases) * s.prepared_bytes();
    if (pace.train_seconds > 0)
      job.seconds = static_cast<double>(epochs) * (static_cast<double>(c_.iterations) * pace.train_seconds +
                                                   static_cast<double>(c_.val_iterations) * pace.validate_seconds) +
                    static_cast<double>(validated) * windows_seconds(m, s, true, 0.5, 1);
  }

  void prediction(const StudySystem& system) {
    const Pace& pace = paces_.at(system.model.name);
    JobEstimate& job = out_.jobs["predict-" + system.name()];
    job.bytes = pace.memory.validation_arena + pace.memory.weights * (1 + c_.folds.size()) + preparing_bytes(held_out_);
    if (pace.validate_seconds == 0) return;
    const double of_case = held_out_.prepare_seconds +
                           windows_seconds(system.model, held_out_, c_.mirroring, c_.step_size, c_.folds.size());
    job.seconds = static_cast<double>(held_out_.cases) * of_case;
    if (c_.folds.size() > 1)
      out_.jobs["explain-" + system.name()] = {
          job.bytes, static_cast<double>(std::min(held_out_.cases, kChallengingShown)) * of_case};
  }

  const StudyConfig& c_;
  Target target_;
  Sample public_{}, private_{}, held_out_{};
  Plans plans_{};
  Configuration configuration_{};
  std::map<std::string, Pace> paces_{};
  StudyEstimate out_{};
};

}  // namespace

StudyEstimate estimate_study(const StudyConfig& config, const std::vector<Job>& jobs, const Path& study,
                             const Target& target) {
  return Estimator(config, study, target).estimate(jobs);
}

}  // namespace metvox
