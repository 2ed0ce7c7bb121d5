// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "layers/loss.h"
#include "layers/named.h"
#include "segmentation/data/case_fault.h"
#include "segmentation/data/system_memory.h"
#include "segmentation/training/trainer.h"
#include "tools/byte_size.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace metvox {
namespace {

TrainRequest parse_request(CommandLine& line, bool* go_on) {
  TrainRequest r;
  std::optional<ByteSize> max_ram;
  std::string group_by = "patient", loss = "auto", new_channels = "refuse", augmentation = "bg2";
  line.positional("PREPROCESSED", r.preprocessed, "folder that `metvox preprocess` wrote");
  line.option("fold,f", r.fold, "K",
              "0 to 4, or all: train and validate on every case; a number beyond: a random 80:20 split");
  line.option("network", r.network, "NAME", names_of(networks()));
  line.option("loss", loss, "NAME",
              names_of(losses()) + "; auto: dice-bce with regions, dice-ce with exclusive labels");
  line.option("config,c", r.configuration, "NAME",
              "configuration of the plan: 3d_fullres, 2d, 3d_lowres; 3d_cascade_fullres after all folds of 3d_lowres");
  line.option("epochs", r.epochs, "N", "how many epochs");
  line.option("iterations", r.iterations, "N", "training batches an epoch");
  line.option("val-iterations", r.val_iterations, "N", "validation batches an epoch");
  line.option("lr", r.lr, "X", "initial learning rate, instead of the network's own");
  line.choice("augmentation", augmentation, {"bg1", "bg2"},
              "transforms of nnU-Net up to 2.3 (batchgenerators: cubic splines) or of today's "
              "(batchgeneratorsv2)");
  line.option("save-every", r.save_every, "N", "epochs between two checkpoint_latest");
  line.option("out,o", r.results, "RESULTS", "where the model folder goes", Need::required);
  line.option("pretrained", r.pretrained, "FILE",
              "checkpoint whose weights to start from, segmentation heads excepted");
  line.choice(
      "pretrained-channels", new_channels, {"refuse", "average", "zero", "drop"},
      "what input channels begin with that the checkpoint's model has not; drop: the whole first convolution anew");
  line.option("overwrite", r.overwrite, "train a fold anew that has checkpoints, and replace them");
  line.option("resume", r.resume, "go on from the last checkpoint; from the beginning where there is none");
  line.option(
      "save-probabilities", r.save_probabilities,
      "write the probabilities of the validation cases, which find-best averages; with --resume a finished fold "
      "is only validated again");
  line.option("max-ram", max_ram, "SIZE", "keep the process below this much memory, such as 4G; same result, slower");
  line.option("profile", r.profile, "write profile.csv and trace.json (for Perfetto) of one step, layer by layer");
  line.choice("group-by", group_by, {"patient", "none"}, "keep the time points of one patient in one fold");
  line.common({Common::device, Common::engine, Common::precision, Common::seed, Common::threads, Common::json,
               Common::quiet, Common::dry_run});
  *go_on = line.parse();
  if (!*go_on) return r;
  constexpr int64_t kMost = 1000000;  // products of them fit
  for (const auto& [name, n] : {std::pair{"--epochs", r.epochs},
                                {"--iterations", r.iterations},
                                {"--val-iterations", r.val_iterations},
                                {"--save-every", r.save_every}})
    if (n < 1 || n > kMost) fail(Fault::usage, name, " is ", n, "; it may be 1 to ", kMost);
  if (r.lr && !(std::isfinite(*r.lr) && *r.lr > 0)) fail(Fault::usage, "--lr is ", *r.lr, "; it is a number above 0");
  if (r.resume && r.overwrite) fail(Fault::usage, "--resume goes on with a run, --overwrite replaces it; give one");
  if (line.given("pretrained-channels") && r.pretrained.empty())
    fail(Fault::usage, "--pretrained-channels is about the checkpoint of --pretrained, which is missing");
  if (new_channels != "refuse") r.new_channels = new_channels_from(new_channels);
  r.loss = loss == "auto" ? "" : loss;
  r.augmentation = augmentation_from(augmentation);
  if (line.given("group-by")) r.group_by = group_by_from(group_by);
  r.seed = line.values().seed;
  r.target = line.target(line.values().engine, find_network(r.network).defaults.precision);
  if (max_ram && !r.target.device.is_cpu())
    fail(Fault::usage, "--max-ram bounds training on the CPU, not on ", name_of(r.target.device));
  if (max_ram) {
    give_back_what_is_freed();
    r.max_bytes = max_ram->bytes;
    r.taken_bytes = resident_bytes().now;
  }
  return r;
}

Json to_json(const TrainMemory& m) {
  return {{"arena_bytes", m.learner.arena},
          {"scratch_bytes", m.learner.scratch},
          {"validation_program_bytes", m.learner.validation_arena},
          {"weights_bytes", m.learner.weights},
          {"gradients_bytes", m.learner.gradients},
          {"optimizer_bytes", m.learner.optimizer},
          {"packed_bytes", m.learner.packed},
          {"input_bytes", m.learner.input},
          {"loader_bytes", m.loader},
          {"cases_bytes", m.cases},
          {"cases_resident", m.cases_resident},
          {"cases_at_once_bytes", m.cases_at_once},
          {"workers", m.workers},
          {"training_bytes", m.training()},
          {"final_validation_bytes", m.final_validation},
          {"total_bytes", std::max(m.training(), m.final_validation)}};
}

void print_memory(const TrainMemory& m) {
  const auto row = [](const char* name, size_t bytes, const char* note) {
    std::printf("%-24s %12.1f MiB  %s\n", name, static_cast<double>(bytes) / (1 << 20), note);
  };
  row("arena", m.learner.arena, "activations, their gradients, scratch; shared by both programs");
  row("  scratch", m.learner.scratch, "of it, the largest step's");
  row("  validation program", m.learner.validation_arena, "of it, when validating");
  row("weights", m.learner.weights, "");
  row("gradients", m.learner.gradients, "");
  row("optimizer", m.learner.optimizer, "");
  row("packed copies", m.learner.packed, "of the weights, in the engine's layout");
  if (m.learner.input) row("input", m.learner.input, "the next batch, while a step is made");
  row("loader", m.loader, sentence("batches ahead, and a patch for each of ", counted(m.workers, "worker")).c_str());
  row("cases", m.cases, m.cases_resident ? "mapped files" : "mapped files, not counted: read from disk as needed");
  if (m.cases_at_once) row("  at once", m.cases_at_once, "of them, in memory while batches are made");
  row("training", m.training(), "");
  row("final validation", m.final_validation, "predictor and largest case, after the rest is given back");
  row("total", std::max(m.training(), m.final_validation), "the larger of the two");
}

void print_transfer(const std::optional<Transfer>& transfer) {
  if (!transfer) return;
  std::printf("\nweights of %s\n", transfer->from.c_str());
  for (const TransferredTensor& t : transfer->tensors)
    std::printf("%-8s %s %s%s%s\n", word_of(t.how), t.name.c_str(), sentence(t.shape).c_str(),
                t.why.empty() ? "" : ": ", t.why.c_str());
}

TrainEvents events_for(const CommandLine& line, const TrainRequest& request, Progress& progress) {
  TrainEvents events;
  events.say = [&](const std::string& text) { line.say(text); };
  events.step = [&](int64_t epoch, int64_t step, int64_t steps, double loss) {
    progress.update(epoch * steps + step, request.epochs * steps,
                    sentence("epoch ", epoch + 1, "/", request.epochs, "  loss ", std::round(loss * 1e4) / 1e4));
  };
  events.epoch = [&](const EpochRecord& r) {
    if (line.values().quiet) return;
    std::string dice;
    for (double d : r.dice) dice += sentence(dice.empty() ? "" : " ", std::round(d * 1e3) / 1e3);
    char text[256];
    std::snprintf(text, sizeof text,
                  "epoch %lld/%lld  train %.4f  val %.4f  dice [%s]  ema %.4f  lr %.3g  %.1f s (%.0f + %.0f ms a step)",
                  static_cast<long long>(r.epoch + 1), static_cast<long long>(request.epochs), r.train_loss, r.val_loss,
                  dice.c_str(), r.ema_dice, r.lr, r.times.seconds, r.times.step_ms, r.times.wait_ms);
    progress.line(text);
  };
  return events;
}

// What must be there at once; the pages of mapped cases can be given back.
void look_for_memory(const CommandLine& line, const TrainMemory& m) {
  const size_t bytes = std::max(m.training() - (m.cases_resident ? m.cases : 0), m.final_validation);
  const SystemMemory memory = system_memory();
  if (!line.values().dry_run) require_memory("training", bytes, memory);
  if (const std::string warning = memory_warning("training", bytes, memory); !warning.empty())
    line.warn("warning: ", warning);
}

int run(CommandLine& line) {
  bool go_on = false;
  const TrainRequest request = parse_request(line, &go_on);
  if (!go_on) return 0;
  Trainer trainer(request);
  if (request.target.device.kind == Device::Kind::cpu) look_for_memory(line, trainer.memory());
  if (line.values().dry_run) {
    Json json = to_json(trainer.memory());
    if (trainer.transfer()) json["transfer"] = to_json(*trainer.transfer());
    if (line.values().json) print_json(json);
    else print_memory(trainer.memory()), print_transfer(trainer.transfer());
    return 0;
  }
  auto progress = std::make_unique<Progress>("train", "batches", line.values().quiet);
  TrainEvents events = events_for(line, request, *progress);
  std::unique_ptr<Progress> validation;
  events.validation = [&](int64_t done, int64_t cases, const std::string& id) {
    if (!validation) {
      progress.reset();
      validation = std::make_unique<Progress>("validate", "cases", line.values().quiet);
    }
    validation->update(done, cases, id);
  };
  const std::vector<std::string> faults = trainer.run(events);
  validation.reset();
  for (const std::string& fault : faults) line.warn(fault);
  if (line.values().json)
    print_json(
        {{"model", trainer.model_folder().string()}, {"fold", trainer.fold_folder().string()}, {"faults", faults}});
  else std::printf("%s\n", trainer.model_folder().string().c_str());
  return faults.empty() ? 0 : code(Fault::partial);
}

const VerbEntry entry{{"train", Stage::model, "train one fold of a model, then validate it",
                       "metvox train preprocessed --fold 0 --network nnunet --loss dice-bce --out results", run}};

}  // namespace
}  // namespace metvox
