// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/estimate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "io/nifti.h"
#include "segmentation/data/preprocess.h"
#include "segmentation/data/system_memory.h"
#include "segmentation/evaluation/calibration.h"
#include "segmentation/evaluation/case_scores.h"
#include "segmentation/evaluation/froc.h"
#include "segmentation/inference/sliding_window.h"
#include "segmentation/study/compare.h"
#include "segmentation/training/learner.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

namespace at = study_paths;

// Painting a voxel: four sequences i16, tissues, lesions, an image in two stages f32.
constexpr size_t kPhantomBytes = 20;
// Evaluation of a voxel, where masks span the image: two label maps, the components of both, a region's masks; with
// probabilities three of them, and those of the region at hand.
constexpr size_t kScoreBytes = 14, kProbabilityBytes = 16;
// Of the program on phantoms of 96 x 112 x 96 voxels on a core of 2.5 GHz, for each voxel, case and system: pictures
// are most of it.
constexpr double kFormSeconds = 1.5e-7, kReportSeconds = 8e-8;
constexpr size_t kFormBytes = size_t{4} << 20, kReportBytes = size_t{8} << 20;  // of a case's pictures, and as text

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
  Tensor labels;            // empty: none
  double make_seconds = 0;  // of a phantom
  double read_seconds = 0;
  double prepare_seconds = 0;  // reading and preprocessing it
  Int3 shape{};                // as preprocessed
  size_t raw_bytes() const { return images.data.bytes(); }
  int64_t raw_voxels() const { return images.data.size() / images.data.shape()[0]; }
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

// Of what is on no disk yet: packing goes to `make_seconds`, unpacking to `read_seconds`.
void time_files(const PhantomCase& p, Sample& s) {
  for (const Tensor& sequence : p.sequences) {
    const auto bytes = std::as_bytes(std::span(sequence.data<int16_t>(), static_cast<size_t>(sequence.size())));
    Bytes packed;
    s.make_seconds += seconds_of([&] { packed = gzip(bytes); });
    s.read_seconds += seconds_of([&] { gunzip(packed, bytes.size(), p.id); });
  }
}

Sample phantom_sample(const PhantomOptions& options) {
  Sample s;
  s.description = brats_description("");
  s.cases = s.description.num_training = options.cases;
  PhantomCase made;
  s.make_seconds = seconds_of([&] { made = make_phantom(options, 0); });
  time_files(made, s);
  s.read_seconds += seconds_of([&] { s.images = images_of(made); });
  s.prepare_seconds = s.read_seconds;
  s.labels = made.labels;
  return s;
}

Sample file_sample(const CaseFiles& files, const DatasetDescription& description, size_t cases) {
  Sample s;
  s.description = description;
  s.cases = static_cast<int64_t>(cases);
  s.read_seconds = s.prepare_seconds = seconds_of([&] { s.images = read_case(files); });
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
  size_t step_bytes() const {
    return memory.arena + memory.weights + memory.gradients + memory.optimizer + memory.packed + loader_bytes;
  }
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
             bool with_times, std::vector<std::string>& notes) {
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
  if (!with_times) return pace;
  const size_t bytes = pace.step_bytes();
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

// The labels of a case as a prediction of it that is a voxel off.
double evaluation_seconds(const Sample& s, bool with_probabilities) {
  Tensor prediction = s.labels.clone();
  uint8_t* first = prediction.data<uint8_t>();
  std::rotate(first, first + 1, first + prediction.size());
  const auto& mm = s.images.geometry.spacing_mm;
  return seconds_of([&] {
    score_case("estimate", prediction, s.labels, s.images.geometry);
    if (!with_probabilities) return;
    for (const LabelTarget& region : challenge_regions()) {
      const Tensor mask = region_mask(prediction, region), truth = region_mask(s.labels, region);
      Tensor p = Tensor::empty(mask.shape(), DType::f32);
      std::copy_n(mask.data<uint8_t>(), mask.size(), p.data<float>());
      Froc().add(p, truth);
      Calibration().add(p, truth, {mm[2], mm[1], mm[0]});
    }
  });
}

// Scores made up, of as many cases and systems.
double compare_seconds(const StudyConfig& config, int64_t cases, CompareMode mode) {
  StudyScores scores;
  Random random(0, 0);
  for (int64_t i = 0; i < cases; ++i) scores.samples.push_back(phantom_id(i));
  for (const StudySystem& system : study_systems(config)) {
    SystemScores& of = scores.systems.emplace_back();
    of.model = system.model.name;
    of.regime = system.regime;
    for (const std::string& metric : study_metrics())
      for (int64_t i = 0; i < cases; ++i) of.values[metric].push_back(random.uniform(0, 1));
  }
  return seconds_of([&] { compare(scores, mode, mode == CompareMode::paired ? config.reference : "", config.seed); });
}

class Estimator {
 public:
  Estimator(const StudyConfig& config, const Path& study, const Target& target, bool with_times)
      : c_(config), target_(target) {
    public_ = set_sample(c_.public_data, c_);
    private_ = set_sample(c_.private_data, c_);
    held_out_ = held_out_sample(c_, private_);
    plans_ = plans_of(c_, private_, study);
    configuration_ = plans_.configuration(c_.configuration, "the plan");
    for (Sample* s : {&public_, &private_, &held_out_}) prepare(*s, plans_, configuration_, c_.seed);
    for (const StudyModel& m : c_.models)
      paces_[m.name] =
          pace_of(m, configuration_, private_.description.labels,
                  static_cast<int>(private_.description.channel_names.size()), target_, with_times, out_.notes);
  }

  StudyEstimate estimate(const std::vector<Job>& jobs) {
    for (const Job& job : jobs) {
      if (job.name == "data-public") phantoms(job, public_);
      if (job.name == "data-private") phantoms(job, private_);
      if (job.name == "data-held-out") phantoms(job, held_out_);
      if (job.name == "plan-public") planning(job, public_);
      if (job.name == "plan-private") planning(job, private_);
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
    results();
    return std::move(out_);
  }

 private:
  void phantoms(const Job& job, const Sample& s) {
    out_.jobs[job.name] = {kProcessRoom + static_cast<size_t>(s.raw_voxels()) * kPhantomBytes,
                           s.make_seconds * static_cast<double>(s.cases)};
  }
  // Reading holds every sequence twice.
  static size_t preparing_bytes(const Sample& s) {
    return kProcessRoom + s.raw_bytes() + std::max(s.raw_bytes(), s.prepared_bytes());
  }
  void planning(const Job& job, const Sample& s) {
    constexpr int64_t kPooled = 4'000'000;  // labelled voxels whose values make_fingerprint() keeps, at most
    const int64_t labelled =
        s.labels.size() - std::count(s.labels.data<uint8_t>(), s.labels.data<uint8_t>() + s.labels.size(), uint8_t{0});
    const size_t pooled = static_cast<size_t>(std::min(kPooled, labelled * s.cases)) * 2 * sizeof(float) *
                          s.description.channel_names.size();
    const double seconds = s.read_seconds + seconds_of([&] { fingerprint_of(s); });
    out_.jobs[job.name] = {preparing_bytes(s) + pooled, seconds * static_cast<double>(s.cases)};
  }
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
    const int64_t mapped = s.cases + s.cases / 10 + 1;  // others may be larger; one more while it is read
    job.bytes = kProcessRoom + pace.step_bytes() + static_cast<size_t>(mapped) * s.prepared_bytes();
    if (pace.train_seconds > 0)
      job.seconds = static_cast<double>(epochs) * (static_cast<double>(c_.iterations) * pace.train_seconds +
                                                   static_cast<double>(c_.val_iterations) * pace.validate_seconds) +
                    static_cast<double>(validated) * windows_seconds(m, s, true, 0.5, 1);
  }

  // Of the regions: logits of a fold and their mean, probabilities of a fold, of its mirror images and over the folds,
  // their squares; entropy and disagreement on the grid of the images.
  static size_t maps_bytes(const Sample& s) {
    const auto voxels = static_cast<size_t>(6 * volume(s.shape) + 2 * s.raw_voxels());
    return voxels * sizeof(float) * s.description.labels.heads().size();
  }
  void prediction(const StudySystem& system) {
    const Pace& pace = paces_.at(system.model.name);
    JobEstimate& job = out_.jobs["predict-" + system.name()];
    job.bytes = pace.memory.validation_arena + pace.memory.weights * (1 + c_.folds.size()) + preparing_bytes(held_out_);
    const std::string explain = "explain-" + system.name();
    if (c_.folds.size() > 1) out_.jobs[explain].bytes = job.bytes + maps_bytes(held_out_);
    if (pace.validate_seconds == 0) return;
    const double of_case = held_out_.prepare_seconds +
                           windows_seconds(system.model, held_out_, c_.mirroring, c_.step_size, c_.folds.size());
    job.seconds = static_cast<double>(held_out_.cases) * of_case;
    if (c_.folds.size() > 1)
      out_.jobs[explain].seconds = static_cast<double>(std::min(held_out_.cases, kChallengingShown)) * of_case;
  }

  // What is made of the predictions.
  void results() {
    const auto cases = static_cast<double>(held_out_.cases), systems = static_cast<double>(study_systems(c_).size());
    const auto voxels = static_cast<double>(held_out_.raw_voxels());
    const Sample& labelled = held_out_.labels ? held_out_ : private_;
    const double of_voxel =
        evaluation_seconds(labelled, c_.probabilities) / static_cast<double>(labelled.labels.size());
    for (const StudySystem& system : study_systems(c_))
      out_.jobs["evaluate-" + system.name()] = {
          kProcessRoom + static_cast<size_t>(voxels) * (kScoreBytes + (c_.probabilities ? kProbabilityBytes : 0)),
          cases * (voxels * of_voxel + held_out_.read_seconds / 4)};  // label maps are no larger than a sequence
    for (const auto& [name, mode] :
         {std::pair{"compare-paired", CompareMode::paired}, {"compare-paper", CompareMode::paper}})
      out_.jobs[name] = {kProcessRoom, compare_seconds(c_, held_out_.cases, mode)};
    const size_t images = kProcessRoom + 2 * held_out_.raw_bytes();
    const auto pages = static_cast<size_t>(held_out_.cases);
    out_.jobs["experts"] = {images + pages * kFormBytes, cases * voxels * 2 * kFormSeconds};
    out_.jobs["report"] = {images + pages * kReportBytes, cases * voxels * systems * kReportSeconds};
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
                             const Target& target, bool with_times) {
  return Estimator(config, study, target, with_times).estimate(jobs);
}

}  // namespace metvox
