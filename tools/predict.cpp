// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "segmentation/data/case_fault.h"
#include "segmentation/data/config_hash.h"
#include "segmentation/data/resample.h"
#include "segmentation/data/system_memory.h"
#include "segmentation/inference/predict_cases.h"
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
};

bool parse(CommandLine& line, Request& r) {
  line.option("input,i", r.input, "DIR", "images: CASE_0000.nii.gz or CASE-t1c.nii.gz, flat or a folder a case",
              Need::required);
  line.option("output,o", r.output, "DIR", "folder for CASE.nii.gz; finished cases there are kept", Need::required);
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
  line.common({Common::device, Common::engine, Common::precision, Common::threads, Common::json, Common::quiet,
               Common::dry_run});
  if (!line.parse()) return false;
  r.predictor.mirror = !r.no_mirror;
  r.predictor.target = line.target();
  return true;
}

void require_previous_stage(const Request& r, const ModelFolder& model) {
  const std::string& stage = model.config().previous_stage;
  if (stage.empty() && !r.cases.previous_stage.empty())
    fail(Fault::usage, "--prev-stage-predictions: ", model.configuration, " has no previous stage");
  if (stage.empty()) return;
  const std::string name = model_folder_name(model.network, model.loss, stage);
  if (r.cases.previous_stage.empty())
    fail(Fault::usage, model.configuration, " needs the predictions of ", stage, ": `metvox predict -i ",
         r.input.string(), " -o PREVIOUS -m ", (r.model / ".." / name).lexically_normal().string(),
         "`, then the same as now with --prev-stage-predictions PREVIOUS");
  require_folder(r.cases.previous_stage);
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

// What a case needs at most: it may be cropped before it is resampled.
struct CaseNeeds {
  std::string id;
  Int3 voxels{};
  int64_t runs = 0;
  size_t bytes = 0;
};

CaseNeeds needs_of(const CaseFiles& files, const Predictor& predictor, const ModelFolder& model, bool probabilities) {
  const Geometry g = read_sequence_header(files.images.front()).geometry;
  for (size_t c = 1; c < files.images.size(); ++c) read_sequence_header(files.images[c]);  // refuses what reading would
  const auto& spacing = model.config().spacing_mm;
  Int3 shape{};
  Double3 from{}, to{};
  for (int a = 0; a < 3; ++a) {
    const int axis = 2 - model.plans.transpose_forward[a];
    shape[a] = g.shape[axis];
    from[a] = g.spacing_mm[axis];
    to[a] = spacing.size() == 3 ? spacing[a] : a == 0 ? from[a] : spacing[a - 1];
  }
  CaseNeeds needs;
  needs.id = files.id;
  needs.voxels = resampled_shape(shape, from, to);
  needs.runs = predictor.runs(needs.voxels);
  // Reading holds every sequence twice; then come the data and the logits; at last the logits and what is written.
  const size_t channels = files.images.size(), inputs = input_channels(model.dataset, model.config()),
               heads = predictor.heads(), raw = volume(shape), kept = volume(needs.voxels);
  const size_t restored = sizeof(float) * heads * kept + raw + (probabilities ? sizeof(float) * heads * raw : 0);
  needs.bytes =
      std::max(sizeof(float) * std::max(channels * (raw + std::max(raw, kept)), (inputs + heads) * kept), restored);
  return needs;
}

// Of every case whose header can be read; the others are faults, told at once or when it is their turn.
struct Needs {
  std::vector<CaseNeeds> cases;
  std::vector<std::string> faults;
  CaseNeeds largest;
};

Needs needs_of(const std::vector<CaseFiles>& cases, const Request& r, const Predictor& predictor,
               const ModelFolder& model) {
  Needs needs;
  for (const CaseFiles& files : cases) {
    const auto fault =
        try_case(files.id, [&] { needs.cases.push_back(needs_of(files, predictor, model, r.cases.probabilities)); });
    if (fault) needs.faults.push_back(fault->text);
    else if (needs.cases.back().bytes > needs.largest.bytes) needs.largest = needs.cases.back();
  }
  return needs;
}

size_t bytes_of(const PredictorMemory& m) { return m.arena + m.weights + m.packed; }

void look_for_memory(const CommandLine& line, const Predictor& predictor, const Needs& needs) {
  const size_t own = bytes_of(predictor.memory());
  const SystemMemory memory = system_memory();
  if (!line.values().dry_run) require_memory("the model", own, memory);
  const std::string warning =
      memory_warning(sentence("the model with case ", needs.largest.id), own + needs.largest.bytes, memory);
  if (!warning.empty()) line.warn("warning: ", warning);
}

int dry_run(const CommandLine& line, const Predictor& predictor, const Needs& needs, std::vector<std::string> faults) {
  faults.insert(faults.end(), needs.faults.begin(), needs.faults.end());
  Json list = Json::array();
  for (const CaseNeeds& c : needs.cases) {
    list.push_back(
        {{"case", c.id}, {"voxels_at_most", c.voxels}, {"network_runs_at_most", c.runs}, {"bytes_at_most", c.bytes}});
    line.say(c.id, ": at most ", c.voxels[0], "x", c.voxels[1], "x", c.voxels[2], " voxels, ", counted(c.runs, "run"),
             " of the network, ", mib(c.bytes), " MiB");
  }
  for (const std::string& fault : faults) line.warn(fault);
  const PredictorMemory m = predictor.memory();
  const size_t sum = bytes_of(m) + needs.largest.bytes;
  line.say("arena ", mib(m.arena), " MiB, weights ", mib(m.weights), ", packed copies ", mib(m.packed),
           ", largest case ", mib(needs.largest.bytes), "; ", mib(sum), " MiB in all");
  if (line.values().json)
    print_json({{"cases", list},
                {"arena_bytes", m.arena},
                {"weights_bytes", m.weights},
                {"packed_bytes", m.packed},
                {"largest_case_bytes", needs.largest.bytes},
                {"sum_bytes", sum},
                {"faults", faults}});
  return faults.empty() ? 0 : code(list.empty() ? Fault::input : Fault::partial);
}

int run(CommandLine& line) {
  Request r;
  if (!parse(line, r)) return 0;
  const ModelFolder model = open_model(r.model, r.checkpoint, r.folds);
  require_previous_stage(r, model);
  if (r.folds.empty()) r.folds = model.folds;
  const bool as_nnunet = !model.trainer.empty() && !r.cases.probabilities;
  r.predictor.sums = r.sums == "f16" || (r.sums == "auto" && as_nnunet) ? DType::f16 : DType::f32;
  std::vector<std::string> faults;
  const std::vector<CaseFiles> cases = find_inputs(r.input, model.dataset.channel_names, &faults);
  if (cases.empty()) return report_predictions(line, r.output, {}, faults);
  Predictor predictor(model, r.folds, r.checkpoint, r.predictor);
  const Needs needs = needs_of(cases, r, predictor, model);
  if (r.predictor.target.device.kind == Device::Kind::cpu) look_for_memory(line, predictor, needs);
  if (line.values().dry_run) return dry_run(line, predictor, needs, std::move(faults));
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
