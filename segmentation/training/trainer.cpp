// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "kernels/cpu/isa.h"
#include "segmentation/data/config_hash.h"
#include "segmentation/data/system_memory.h"
#include "segmentation/training/fold_validation.h"
#include "segmentation/training/profile.h"
#include "segmentation/training/tally.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

constexpr double kEmaKept = 0.9;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

size_t TrainMemory::training() const {
  return learner.arena + learner.weights + learner.gradients + learner.optimizer + learner.packed + learner.input +
         loader + (cases_resident ? cases : cases_at_once);
}

struct Trainer::Impl {
  TrainRequest request;
  Plans plans;
  DatasetDescription dataset;
  Configuration configuration;
  CheckpointFacts facts;
  ChosenFold chosen;
  std::unique_ptr<TrainingCases> cases;
  std::unique_ptr<Learner> learner;
  std::optional<Transfer> transfer;  // where weights of another model are to start from
  LoaderPlan loader_plan;
  double lr = 0;
  TrainingState state;
  bool profiled = false;

  explicit Impl(const TrainRequest& r) : request(r) {
    const Path plans_json = r.preprocessed / "plans.json", dataset_json = r.preprocessed / "dataset.json";
    if (!fs::exists(plans_json))
      fail(Fault::input, r.preprocessed.string(),
           ": holds no plans.json; run `metvox plan` and `metvox preprocess` first");
    plans = read_plans(plans_json);
    dataset = read_description(dataset_json);
    configuration = plans.configuration(r.configuration, plans_json);
    if (request.loss.empty()) request.loss = default_loss(dataset.labels);
    const int channels = static_cast<int>(dataset.channel_names.size());
    const int inputs = static_cast<int>(input_channels(dataset, configuration));
    learner = std::make_unique<Learner>(LearnerOptions{request.network, request.loss, inputs, request.target},
                                        configuration, dataset.labels);
    lr = request.lr.value_or(learner->defaults().lr);
    const Path folder = r.preprocessed / configuration.data_identifier;
    chosen = choose_fold(splits_json(), preprocessed_ids(folder), r.fold, r.group_by.value_or(GroupBy::patient));
    request.fold = chosen.name;
    refuse_own_checkpoint();
    if (!request.pretrained.empty() && !(request.resume && has_checkpoint()))
      transfer = plan_transfer(learner->store(), request.pretrained, dataset.channel_names, request.new_channels);
    std::vector<std::string> ids = chosen.fold.train;
    ids.insert(ids.end(), chosen.fold.val.begin(), chosen.fold.val.end());
    cases = std::make_unique<TrainingCases>(folder, ids, channels, previous_stage_folder(), r.max_bytes == 0);
    plan_loader();
    if (r.max_bytes > 0) keep_below(r.max_bytes);
    facts.facts = run_facts();
    facts.plans = read_json(plans_json);
    facts.dataset = read_json(dataset_json);
    for (const LabelTarget& target : dataset.labels.foreground()) facts.targets.push_back(target.name);
  }

  void refuse_own_checkpoint() const {
    if (request.pretrained.empty()) return;
    const Path own = fs::weakly_canonical(folder()), there = fs::weakly_canonical(request.pretrained);
    if (std::mismatch(own.begin(), own.end(), there.begin(), there.end()).first == own.end())
      fail(Fault::usage, "--pretrained ", request.pretrained.string(),
           " lies in the folder that this training writes anew; copy it "
           "elsewhere, train to another --out, or go on with --resume");
  }

  // What the folds of the previous stage have said of their validation cases; empty but in a cascade.
  Path previous_stage_folder() const {
    if (configuration.previous_stage.empty()) return {};
    const Path model = request.results / model_folder_name(request.network, request.loss, configuration.previous_stage);
    return next_stage_file(model, configuration.name, "").parent_path();
  }

  void plan_loader() {
    const PatchGeometry geometry = patch_geometry(configuration.patch());
    loader_plan.previous_labels = previous_labels(dataset, configuration);
    loader_plan.augmentation = request.augmentation;
    loader_plan.train = {cases->find(chosen.fold.train), geometry.initial,
                         training_transforms(geometry, configuration.use_mask_for_norm, loader_plan.previous_labels,
                                             request.augmentation)};
    loader_plan.val = {cases->find(chosen.fold.val), geometry.patch, validation_transforms()};
    loader_plan.channels = static_cast<int64_t>(dataset.channel_names.size());
    loader_plan.batch_size = configuration.batch_size;
    loader_plan.patch = geometry.patch;
    loader_plan.epochs = request.epochs;
    loader_plan.iterations = request.iterations;
    loader_plan.val_iterations = request.val_iterations;
    loader_plan.seed = request.seed;
    loader_plan.make_for(request.target.device);
  }

  TrainMemory memory() const {
    const auto makers = static_cast<size_t>(loader_plan.workers) + (loader_plan.yield_to_step ? 1 : 0);
    return {learner->memory(),
            loader_plan.bytes(),
            cases->bytes(),
            cases->resident(),
            loader_plan.sampled ? std::min(makers * cases->largest_bytes(), cases->bytes()) : 0,
            loader_plan.workers,
            final_validation_bytes()};
  }

  // First what is in memory of a case goes when a sample has been taken from it, then batches are made by fewer.
  void keep_below(size_t limit) {
    const auto needed = [&](const TrainMemory& m) {
      const size_t during = m.training() + (loader_plan.sampled ? 0 : m.cases);
      return request.taken_bytes + kProcessRoom + std::max(during, m.final_validation);
    };
    if (needed(memory()) <= limit) return;
    loader_plan.sampled = [held = cases.get()](const Window& w) { held->give_back(w.data); };
    while (loader_plan.workers > 1 && needed(memory()) > limit) --loader_plan.workers;
    const TrainMemory m = memory();
    const size_t least = mebibytes(needed(m));
    if (needed(m) <= limit + kProcessJitter) return;
    fail(Fault::memory, "--max-ram of ", limit >> 20, " MiB cannot be kept: at least ", least,
         " MiB are needed, the program itself included: ", mebibytes(m.training()), " MiB to train, ",
         mebibytes(m.final_validation), " MiB to validate; give --max-ram ", least,
         "M or more, or plan a smaller patch or batch");
  }

  // All that the bits of a run depend on, the data excepted.
  Json run_facts() const {
    Json j = {{"network", request.network},
              {"loss", request.loss},
              {"configuration", request.configuration},
              {"fold", request.fold},
              {"epochs", request.epochs},
              {"iterations", request.iterations},
              {"val_iterations", request.val_iterations},
              {"lr", lr},
              {"optimizer", learner->defaults().optimizer},
              {"augmentation", name_of(request.augmentation)},
              {"seed", request.seed},
              {"device", name_of(request.target.device)},
              {"engine", or_auto(request.target.engine)},
              {"precision", request.target.precision()},
              {"isa", name_of(isa())},
              {"threads", threads()},
              {"pretrained", request.pretrained.string()},
              {"version", METVOX_VERSION}};
    j["config_hash"] = config_hash(j);
    return j;
  }

  Path splits_json() const { return request.preprocessed / "splits_final.json"; }
  Path model() const {
    return request.results / model_folder_name(request.network, request.loss, request.configuration);
  }
  Path folder() const { return model() / ("fold_" + request.fold); }
  Path checkpoint(const char* name) const { return folder() / (std::string("checkpoint_") + name + ".safetensors"); }
  FoldValidation validation() const {
    return {request.preprocessed,
            model(),
            request.fold,
            request.configuration,
            chosen.fold.val,
            request.target,
            request.save_probabilities,
            previous_stage_folder()};
  }

  bool has_checkpoint() const {
    return fs::exists(checkpoint("latest")) || fs::exists(checkpoint("best")) || fs::exists(checkpoint("final"));
  }

  // Days of work may lie there.
  void refuse_to_replace() const {
    if (request.resume || request.overwrite) return;
    for (const char* name : {"final", "latest", "best"})
      if (fs::exists(checkpoint(name)))
        fail(Fault::usage, "fold ", request.fold, " is trained already, or in part: ", checkpoint(name).string(),
             "; go on with --resume, or replace it with --overwrite");
  }

  void keep_plans() const {
    make_folder(folder());
    for (const auto& [name, json] :
         {std::pair{"plans.json", &facts.plans}, std::pair{"dataset.json", &facts.dataset}}) {
      const Path path = model() / name;
      if (!fs::exists(path)) write_json(path, *json);
      else if (read_json(path) != *json)
        fail(Fault::usage, path.string(), " differs from ", (request.preprocessed / name).string(),
             ": the folder holds folds of another plan; train to another --out");
    }
  }

  void begin(const TrainEvents& events) {
    learner->store().initialize(request.seed);
    if (transfer) {  // before anything is removed: it may not fit
      transfer_weights(learner->store(), *transfer);
      events.say(summary(*transfer));
    }
    for (const char* name : {"final", "latest", "best"}) fs::remove(checkpoint(name));
    for (const char* name : {"metrics.jsonl", "progress.png", "validation"}) fs::remove_all(folder() / name);
  }

  void keep_folds(const TrainEvents& events) const {
    if (!chosen.to_write.empty()) write_folds(splits_json(), chosen.to_write);
    if (chosen.random)
      events.say("fold " + chosen.name + " is beyond those of " + splits_json().string() +
                 ": a random 80:20 split of its own is trained");
    if (chosen.listed && request.group_by)
      events.say("--group-by changes nothing: " + splits_json().string() +
                 " is there and is honoured; remove it to have folds made anew");
    if (!chosen.left_out.empty())
      events.say(sentence(chosen.left_out.size(), " preprocessed cases (", chosen.left_out.front(),
                          chosen.left_out.size() > 1 ? ", ..." : "", ") are not used: fold ", chosen.name, " of ",
                          splits_json().string(), " does not list them"));
  }

  // What a run that was killed while writing left behind.
  void remove_leftovers() const {
    for (const auto& entry : fs::directory_iterator(folder()))
      if (entry.path().filename().string().rfind(".metvox-", 0) == 0) fs::remove(entry.path());
  }

  // Of a checkpoint that cannot be read, the sentence also says what is left to go on from.
  ResumedRun read_or_advise(const std::string& name) const {
    try {
      return read_checkpoint(checkpoint(name.c_str()), *learner);
    } catch (const Error& damaged) {
      std::string advice = "train the fold anew with --overwrite";
      if (name != "best" && fs::exists(checkpoint("best"))) try {
          const int64_t epoch = read_checkpoint(checkpoint("best"), *learner).state.epoch();
          advice = sentence("remove that file and --resume goes on from ", checkpoint("best").string(),
                            ", which can be read, after epoch ", epoch, "; or ", advice);
        } catch (const Error&) {
        }
      fail(damaged.fault(), damaged.what(), ". To go on, ", advice);
    }
  }

  // From the last checkpoint, or from the beginning.
  void resume(const TrainEvents& events) {
    for (const char* name : {"latest", "best"}) {
      if (!fs::exists(checkpoint(name))) continue;
      const ResumedRun run = read_or_advise(name);
      state = run.state;
      read_times(folder() / "metrics.jsonl", state.history);
      events.say(sentence("resuming after epoch ", state.epoch(), " of ", request.epochs, " (",
                          checkpoint(name).string(), ")"));
      tell_differences(run.facts, events);
      write_metrics(folder() / "metrics.jsonl", state.history, facts.targets);
      return;
    }
    events.say("no checkpoint to resume from in " + folder().string() + ": training starts from the beginning");
    begin(events);
  }

  // Facts by which this run differs from the one that made a checkpoint, but `without`: "KEY is X there and Y here".
  std::vector<std::string> differences(Json before, const std::set<std::string>& without) const {
    std::vector<std::string> out;
    before.emplace("augmentation", name_of(Augmentation::bg2));  // of runs from before there was a choice
    for (const auto& [key, value] : facts.facts.items())
      if (const Json was = before.value(key, Json()); was != value && key != "config_hash" && !without.contains(key))
        out.push_back(sentence(key, " is ", was.dump(), " there and ", value.dump(), " here"));
    return out;
  }

  void tell_differences(const Json& before, const TrainEvents& events) const {
    for (const std::string& difference : differences(before, {"pretrained"}))  // which only the beginning depends on
      events.say(difference + ": what follows will not be the same bits");
  }

  // The final checkpoint is whole, and is what is asked for, wherever it was computed.
  void require_this_run() const {
    const ResumedRun run = read_or_advise("final");
    const auto other = differences(run.facts, {"device", "engine", "precision", "isa", "threads", "version"});
    if (other.empty()) return;
    std::string text;
    for (const std::string& difference : other) text += (text.empty() ? "" : ", ") + difference;
    fail(Fault::usage, "fold ", request.fold, " is finished, but not as asked for: of ", checkpoint("final").string(),
         " ", text, "; train to another --out, or replace it with --overwrite");
  }

  void require_finite(double value, const char* what, int64_t epoch, int64_t step) const {
    if (std::isfinite(value)) return;
    const bool has = fs::exists(checkpoint("latest")) || fs::exists(checkpoint("best"));
    fail(Fault::input, "the ", what, " of epoch ", epoch + 1, ", iteration ", step + 1, " is not finite (", value,
         "); training stops, ",
         has ? "the last checkpoint in " + folder().string() + " is kept" : "no checkpoint was written yet",
         ". Try a lower --lr (it is ", lr, "), --precision f32, and `metvox check` on the data");
  }

  EpochRecord train_epoch(Loader& loader, const TrainEvents& events) {
    EpochRecord r;
    r.epoch = state.epoch();
    r.times.started = unix_time();
    r.lr = polynomial_lr(lr, r.epoch, request.epochs);
    const double start = seconds_now();
    const int64_t steps = request.iterations + request.val_iterations;
    double waited = 0, computed = 0;
    Tally train, val;
    // The batch of a step is asked for, and travels to a GPU, while that makes the step before.
    const auto load = [&](int64_t step) {
      const double before = seconds_now();
      learner->upload(loader.next());
      if (step < request.iterations) waited += seconds_now() - before;
    };
    load(0);
    for (int64_t step = 0; step < steps; ++step) {
      const double before = seconds_now(), waited_before = waited;
      const bool training = step < request.iterations;
      if (request.profile && !profiled) {
        write_profile(folder(), learner->profile());
        profiled = true;
        events.say("one step by layers: " + (folder() / "profile.csv").string() +
                   "; for Perfetto: trace.json beside it");
      }
      if (training) learner->start(r.lr);
      else learner->start_validation();
      if (step + 1 < steps) load(step + 1);
      const StepResult result = learner->finish();
      require_finite(result.loss, training ? "loss" : "validation loss", r.epoch, step);
      // In f16 a gradient that is not finite lowers the loss scale; elsewhere it is the end.
      if (!(result.skipped && request.target.dtype == DType::f16))
        require_finite(result.gradient_norm, "gradient", r.epoch, step);
      (training ? train : val).add(result);
      if (training) computed += seconds_now() - before - (waited - waited_before);
      events.step(r.epoch, step + 1, steps, result.loss);
    }
    r.times.seconds = seconds_now() - start;
    r.times.step_ms = 1e3 * computed / static_cast<double>(request.iterations);
    r.times.wait_ms = 1e3 * waited / static_cast<double>(request.iterations);
    r.train_loss = train.mean_loss();
    r.val_loss = val.mean_loss();
    r.dice = val.dice();
    r.mean_dice = nan_mean(r.dice);
    return r;
  }

  void finish_epoch(EpochRecord r, const TrainEvents& events) {
    if (!std::isnan(r.mean_dice))
      state.ema_dice =
          std::isnan(state.ema_dice) ? r.mean_dice : kEmaKept * state.ema_dice + (1 - kEmaKept) * r.mean_dice;
    r.ema_dice = state.ema_dice;
    state.history.push_back(r);
    write_metrics(folder() / "metrics.jsonl", state.history, facts.targets);  // first: a checkpoint has no times
    if (!std::isnan(state.ema_dice) && !(state.ema_dice <= state.best_ema)) {
      state.best_ema = state.ema_dice;
      write_checkpoint(checkpoint("best"), *learner, state, facts);
    }
    if (state.epoch() % request.save_every == 0 && state.epoch() < request.epochs)
      write_checkpoint(checkpoint("latest"), *learner, state, facts);
    write_progress_chart(folder() / "progress.png", state.history);
    events.epoch(r);
  }

  void train(const TrainEvents& events) {
    if (request.resume) resume(events);
    else begin(events);
    if (state.epoch() < request.epochs) {
      loader_plan.first_epoch = state.epoch();
      Loader loader(loader_plan);
      while (state.epoch() < request.epochs) finish_epoch(train_epoch(loader, events), events);
    }
    write_checkpoint(checkpoint("final"), *learner, state, facts);
    fs::remove(checkpoint("latest"));
  }

  size_t final_validation_bytes() const {
    const int heads = static_cast<int>(dataset.labels.heads().size()),
              channels = static_cast<int>(input_channels(dataset, configuration));
    ParameterStore store(DType::f32, request.target.device);
    const auto network = find_network(request.network).make(store, configuration, channels, heads);
    Graph graph;
    const Int3 patch = configuration.patch();
    const Value x = graph.input("images", {{1, channels, patch[0], patch[1], patch[2]}, Kind::activation});
    const Program program(graph, {network->build(x, 1).front()}, Mode::infer, request.target,
                          store.buffers(Mode::infer), std::make_shared<Arena>(request.target.device));
    const size_t windows = static_cast<size_t>(volume(patch)) * static_cast<size_t>(channels + heads) * sizeof(float);
    return program.arena_bytes() + program.packed_bytes() + store.bytes() + windows +
           largest_validation_case_bytes(validation(), heads, loader_plan.previous_labels);
  }
};

Trainer::Trainer(const TrainRequest& request) : impl_(std::make_unique<Impl>(request)) {}
Trainer::~Trainer() = default;

Path Trainer::model_folder() const { return impl_->model(); }
Path Trainer::fold_folder() const { return impl_->folder(); }

const std::optional<Transfer>& Trainer::transfer() const { return impl_->transfer; }

TrainMemory Trainer::memory() const { return impl_->memory(); }

std::vector<std::string> Trainer::run(const TrainEvents& events) {
  Impl& s = *impl_;
  s.refuse_to_replace();
  s.keep_plans();
  s.keep_folds(events);
  s.remove_leftovers();
  const bool trained = s.request.resume && fs::exists(s.checkpoint("final"));
  if (trained) s.require_this_run();
  if (trained && fold_validated(s.validation())) {
    events.say("fold " + s.request.fold + " is finished: " + s.folder().string());
    return {};
  }
  if (!trained) s.train(events);
  s.learner.reset();  // the predictor needs the room
  s.cases.reset();
  return validate_fold(s.validation(), events.validation);
}

}  // namespace metvox
