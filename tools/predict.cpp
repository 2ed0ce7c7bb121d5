// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>

#include "segmentation/data/case_fault.h"
#include "segmentation/data/config_hash.h"
#include "segmentation/data/system_memory.h"
#include "segmentation/inference/predict_memory.h"
#include "tools/byte_size.h"
#include "tools/cli.h"
#include "tools/predictions.h"
#include "tools/progress.h"

namespace metvox {
namespace {

struct Request {
  Path input, output, model;
  std::vector<std::string> folds;
  std::string checkpoint = "final";
  bool no_mirror = false;
  std::string sums = "auto";
  PredictorOptions predictor;
  PredictOptions cases;
  std::optional<ByteSize> max_ram, max_vram;
};

bool parse(CommandLine& line, Request& r) {
  line.option("input,i", r.input, "DIR", "images: CASE_0000.nii.gz or CASE-t1c.nii.gz, flat or a folder a case",
              Need::required);
  line.option("out,o", r.output, "DIR", "folder for CASE.nii.gz; finished cases there are kept", Need::required);
  line.option("model,m", r.model, "DIR", "model folder that `metvox train` printed", Need::required);
  line.option("folds,f", r.folds, "FOLD", "folds to average; default: every fold that has the checkpoint");
  line.choice("checkpoint", r.checkpoint, {"final", "best", "latest"}, "which weights of a fold");
  line.option("prev-stage-predictions", r.cases.previous_stage, "DIR",
              "for a cascade: what `metvox predict` wrote with the previous stage, of the same images");
  line.option("step-size", r.predictor.step_size, "SHARE",
              "step from one window to the next, as a share of the patch, from 0.05 to 1");
  line.option("disable-tta", r.no_mirror, "do not average over mirrored images: 8 times faster, a little less exact");
  line.choice(
      "sums", r.sums, {"auto", "f32", "f16"},
      "how windows are summed; f16 as nnU-Net does it; auto: so where a model of nnU-Net is to write labels only");
  line.option("save-probabilities", r.cases.probabilities, "also write CASE_probabilities.safetensors");
  line.option("overwrite", r.cases.overwrite, "predict finished cases again and replace them");
  line.option("max-ram", r.max_ram, "SIZE", "keep the process below this much memory, such as 4G; same result, slower");
  line.option("max-vram", r.max_vram, "SIZE", "take no more of a GPU's memory, such as 6G; same result, slower");
  line.common({Common::device, Common::engine, Common::precision, Common::threads, Common::json, Common::quiet,
               Common::dry_run});
  if (!line.parse()) return false;
  r.predictor.mirror = !r.no_mirror;
  r.predictor.target = line.target();
  if (r.max_vram && r.predictor.target.device.is_cpu())
    fail(Fault::usage, "--max-vram: ", name_of(r.predictor.target.device), " is no GPU; --max-ram bounds the process");
  if (r.max_vram) r.predictor.max_device_bytes = r.max_vram->bytes;
  return true;
}

Json resolved_config(const Request& r, const ModelFolder& model) {
  Json config{{"program", "metvox " METVOX_VERSION},
              {"model", std::filesystem::absolute(r.model).lexically_normal().string()},
              {"network", model.network},
              {"loss", model.loss},
              {"configuration", model.configuration},
              {"folds", r.folds},
              {"checkpoint", r.checkpoint},
              {"step_size", r.predictor.step_size},
              {"mirror", r.predictor.mirror},
              {"sums", name_of(r.predictor.sums)},
              {"device", name_of(r.predictor.target.device)},
              {"engine", or_auto(r.predictor.target.engine)},
              {"precision", r.predictor.target.precision()},
              {"spacing_mm", model.config().spacing_mm},
              {"patch_size", model.config().patch_size}};
  if (!r.cases.previous_stage.empty())
    config["previous_stage"] = std::filesystem::absolute(r.cases.previous_stage).lexically_normal().string();
  return config;
}

int64_t mib(size_t bytes) { return static_cast<int64_t>((bytes + (1 << 19)) >> 20); }

// Of every case that is to be predicted and whose header can be read; the others are faults, told at once or when it is
// their turn.
PredictNeeds needs_of(const std::vector<CaseFiles>& cases, const Request& r, const Predictor& predictor,
                      const ModelFolder& model, std::vector<std::string>& faults) {
  PredictNeeds needs;
  const PredictorMemory m = predictor.memory();
  needs.there = resident_bytes().now;
  needs.ever = resident_bytes().most;
  if (r.predictor.target.device.is_cpu()) needs.arena = m.arena + m.packed;
  for (const CaseFiles& files : cases) {
    if (!r.cases.overwrite && finished(prediction_files(r.output, files.id), r.cases.probabilities)) continue;
    const auto fault =
        try_case(files.id, [&] { needs.cases.push_back(needs_of(files, predictor, model, r.cases.probabilities)); });
    if (fault) faults.push_back(fault->text);
  }
  return needs;
}

void look_for_memory(const CommandLine& line, const PredictNeeds& needs, bool one_by_one) {
  const SystemMemory memory = system_memory();
  if (!line.values().dry_run) require_memory("the model", needs.there + needs.arena, memory);
  if (!needs.largest()) return;
  const std::string warning = memory_warning(sentence("the model with case ", needs.largest()->id),
                                             needs.peak(one_by_one) - needs.there, memory);
  if (!warning.empty()) line.warn("warning: ", warning);
}

// The most of one case.
size_t bytes_of(const CaseNeeds& c, bool one_by_one) {
  return std::max({one_by_one ? c.one_by_one_bytes : c.at_once_bytes, c.running_bytes, c.writing_bytes});
}

int dry_run(const CommandLine& line, const Predictor& predictor, const PredictNeeds& needs, bool one_by_one,
            const std::vector<std::string>& faults) {
  Json list = Json::array();
  for (const CaseNeeds& c : needs.cases) {
    const size_t bytes = bytes_of(c, one_by_one);
    list.push_back({{"case", c.id},
                    {"voxels_at_most", c.voxels},
                    {"network_runs_at_most", c.runs},
                    {"bytes_at_most", bytes},
                    {"device_bytes_at_most", predictor.device_case_bytes(c.voxels)}});
    line.say(c.id, ": at most ", c.voxels[0], "x", c.voxels[1], "x", c.voxels[2], " voxels, ", counted(c.runs, "run"),
             " of the network, ", mib(bytes), " MiB");
  }
  for (const std::string& fault : faults) line.warn(fault);
  const PredictorMemory m = predictor.memory();
  const size_t weights = m.weights + m.waiting, sum = needs.peak(one_by_one);
  line.say("arena ", mib(m.arena), " MiB, weights ", mib(weights), ", packed copies ", mib(m.packed), ", ",
           one_by_one ? "sequences read one by one" : "sequences read at once", "; the process at most ", mib(sum),
           " MiB, at least ", mib(needs.peak(true)), " with --max-ram");
  if (line.values().json)
    print_json({{"cases", list},
                {"arena_bytes", m.arena},
                {"weights_bytes", weights},
                {"packed_bytes", m.packed},
                {"sum_bytes", sum},
                {"least_bytes", needs.peak(true)},
                {"faults", faults}});
  return faults.empty() ? 0 : code(list.empty() ? Fault::input : Fault::partial);
}

int run(CommandLine& line) {
  Request r;
  if (!parse(line, r)) return 0;
  give_back_what_is_freed();
  const ModelFolder model = open_model(r.model, r.checkpoint, r.folds);
  require_previous_stage(model, r.input, r.cases.previous_stage);
  if (r.folds.empty()) r.folds = model.folds;
  const bool as_nnunet = !model.trainer.empty() && !r.cases.probabilities;
  r.predictor.sums = r.sums == "f16" || (r.sums == "auto" && as_nnunet) ? DType::f16 : DType::f32;
  std::vector<std::string> faults;
  const std::vector<CaseFiles> cases = find_inputs(r.input, model.dataset.channel_names, &faults);
  if (cases.empty()) return report_predictions(line, r.output, {}, faults);
  Predictor predictor(model, r.folds, r.checkpoint, r.predictor);
  std::vector<std::string> unread;
  const PredictNeeds needs = needs_of(cases, r, predictor, model, unread);
  if (r.max_ram) r.cases.one_by_one = must_read_one_by_one(needs, r.max_ram->bytes);
  if (r.predictor.target.device.is_cpu()) look_for_memory(line, needs, r.cases.one_by_one);
  if (line.values().dry_run) {
    faults.insert(faults.end(), unread.begin(), unread.end());
    return dry_run(line, predictor, needs, r.cases.one_by_one, faults);
  }
  r.cases.note = write_config(line, r.output, resolved_config(r, model));
  Predictions done;
  {
    Progress progress("predict", "%", line.values().quiet);
    done = predict_cases(predictor, model, cases, r.output, r.cases, [&](int64_t i, int64_t n, double share) {
      progress.update(static_cast<int64_t>(100 * (static_cast<double>(i) + share) / static_cast<double>(n)), 100,
                      i < n ? sentence(cases[i].id, " (", i + 1, " of ", n, ")") : "");
    });
  }
  return report_predictions(line, r.output, done, faults);
}

const VerbEntry entry{{"predict", Stage::model, "outline the metastases of new cases with a trained model",
                       "metvox predict -i raw/imagesTs -o predictions -m results/nnunet__dice-bce__3d_fullres", run}};

}  // namespace
}  // namespace metvox
