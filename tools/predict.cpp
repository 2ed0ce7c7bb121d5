// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "io/nifti.h"
#include "segmentation/data/config_hash.h"
#include "segmentation/data/resample.h"
#include "segmentation/inference/predict_cases.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace metvox {
namespace {

struct Request {
  Path input, output, model;
  std::vector<std::string> folds;
  std::string checkpoint = "final";
  bool no_mirror = false;
  PredictorOptions predictor;
  PredictOptions cases;
};

bool parse(CommandLine& line, Request& r) {
  line.option("input,i", r.input, "DIR", "images: CASE_0000.nii.gz or CASE-t1c.nii.gz, flat or a folder a case", Need::required);
  line.option("output,o", r.output, "DIR", "folder for CASE.nii.gz; finished cases are skipped", Need::required);
  line.option("model,m", r.model, "DIR", "model folder that `metvox train` printed", Need::required);
  line.option("folds,f", r.folds, "FOLD", "folds to average; default: every fold that has the checkpoint");
  line.choice("checkpoint", r.checkpoint, {"final", "best", "latest"}, "which weights of a fold");
  line.option("step-size", r.predictor.step_size, "SHARE", "step between windows, as a share of the patch");
  line.option("disable-tta", r.no_mirror, "do not average over mirrored images: 8 times faster, a little less exact");
  line.option("save-probabilities", r.cases.probabilities, "also write CASE_probabilities.safetensors");
  line.option("overwrite", r.cases.overwrite, "predict finished cases again");
  line.common({Common::device, Common::engine, Common::precision, Common::threads, Common::json, Common::quiet, Common::dry_run});
  if (!line.parse()) return false;
  r.predictor.mirror = !r.no_mirror;
  r.predictor.target = line.target();
  return true;
}

Json resolved_config(const Request& r, const ModelFolder& model) {
  return {{"program", "metvox " METVOX_VERSION}, {"model", std::filesystem::absolute(r.model).lexically_normal().string()},
          {"network", model.network}, {"loss", model.loss}, {"configuration", model.configuration}, {"folds", r.folds},
          {"checkpoint", r.checkpoint}, {"step_size", r.predictor.step_size}, {"mirror", r.predictor.mirror},
          {"device", name_of(r.predictor.target.device)}, {"engine", r.predictor.target.engine},
          {"precision", name_of(r.predictor.target.dtype)}, {"spacing_mm", model.config().spacing_mm},
          {"patch_size", model.config().patch_size}};
}

double mib(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

// Upper bounds: a case may be cropped before it is resampled.
Json dry_run(const Predictor& predictor, const ModelFolder& model, const std::vector<CaseFiles>& cases, bool quiet) {
  const PredictorMemory memory = predictor.memory();
  const auto& spacing = model.config().spacing_mm;
  Json list = Json::array();
  size_t largest = 0;
  for (const CaseFiles& files : cases) {
    const Geometry g = read_nifti_header(files.images.front()).geometry;
    Int3 shape{};
    Double3 from{}, to{};
    for (int a = 0; a < 3; ++a) {
      const int axis = 2 - model.plans.transpose_forward[a];
      shape[a] = g.shape[axis];
      from[a] = g.spacing_mm[axis];
      to[a] = spacing.size() == 3 ? spacing[a] : a == 0 ? from[a] : spacing[a - 1];
    }
    const Int3 resampled = resampled_shape(shape, from, to);
    const size_t bytes = sizeof(float) * volume(resampled) * (files.images.size() + predictor.heads());
    largest = std::max(largest, bytes);
    list.push_back({{"case", files.id}, {"voxels_at_most", resampled}, {"network_runs_at_most", predictor.runs(resampled)},
                    {"data_and_logits_bytes_at_most", bytes}});
    if (!quiet)
      std::fprintf(stderr, "%s: at most %lldx%lldx%lld voxels, %lld runs of the network, %.0f MiB\n", files.id.c_str(),
                   static_cast<long long>(resampled[0]), static_cast<long long>(resampled[1]), static_cast<long long>(resampled[2]),
                   static_cast<long long>(predictor.runs(resampled)), mib(bytes));
  }
  const size_t sum = memory.arena + memory.weights + memory.packed + memory.window + largest;
  if (!quiet)
    std::fprintf(stderr, "arena %.0f MiB, weights %.0f, packed copies %.0f, window %.0f, largest case %.0f; %.0f MiB in all\n",
                 mib(memory.arena), mib(memory.weights), mib(memory.packed), mib(memory.window), mib(largest), mib(sum));
  return {{"cases", list}, {"arena_bytes", memory.arena}, {"weights_bytes", memory.weights}, {"packed_bytes", memory.packed},
          {"window_bytes", memory.window}, {"largest_case_bytes", largest}, {"sum_bytes", sum}};
}

// Notes how the predictions were made; says so when those that are kept were made in another way.
void write_config(const CommandLine& line, const Path& path, Json config) {
  config["hash"] = config_hash(config);
  if (std::filesystem::exists(path)) {
    const Json before = read_json(path);
    if (before.value("hash", "") != config["hash"])
      line.say("note: finished cases in ", path.parent_path().string(), " are kept though another configuration made them (hash ",
               before.value("hash", "none"), ", now ", config["hash"].get<std::string>(), "); --overwrite predicts them again");
  }
  write_json(path, config);
}

int report(const CommandLine& line, const Request& r, const Predictions& done, const std::vector<std::string>& faults) {
  for (const std::string& fault : faults) line.warn(fault);
  line.say(done.written, " written, ", done.kept, " kept, ", faults.size(), " failed; segmentations are in ", r.output.string());
  if (line.values().json)
    print_json({{"written", done.written}, {"kept", done.kept}, {"faults", faults}, {"output", r.output.string()}});
  if (faults.empty()) return 0;
  if (done.written + done.kept > 0) return code(Fault::partial);
  return code(done.memory ? Fault::memory : Fault::input);
}

int run(CommandLine& line) {
  Request r;
  if (!parse(line, r)) return 0;
  const ModelFolder model = open_model(r.model, r.checkpoint);
  if (r.folds.empty()) r.folds = model.folds;
  std::vector<std::string> faults;
  const std::vector<CaseFiles> cases = find_inputs(r.input, model.dataset.channel_names, &faults);
  if (cases.empty()) return report(line, r, {}, faults);
  Predictor predictor(model, r.folds, r.checkpoint, r.predictor);
  if (line.values().dry_run) {
    for (const std::string& fault : faults) line.warn(fault);
    const Json plan = dry_run(predictor, model, cases, line.values().quiet);
    if (line.values().json) print_json(plan);
    return faults.empty() ? 0 : code(Fault::partial);
  }
  std::filesystem::create_directories(r.output);
  write_config(line, r.output / "predict_config.json", resolved_config(r, model));
  Predictions done;
  {
    Progress progress("predict", "%", line.values().quiet);
    done = predict_cases(predictor, model, cases, r.output, r.cases, [&](int64_t i, int64_t n, double share) {
      progress.update(static_cast<int64_t>(100 * (static_cast<double>(i) + share) / static_cast<double>(n)), 100,
                      i < n ? sentence(cases[i].id, " (", i + 1, " of ", n, ")") : "");
    });
  }
  faults.insert(faults.end(), done.faults.begin(), done.faults.end());
  return report(line, r, done, faults);
}

const VerbEntry entry{{"predict", Stage::model, "segment new cases",
                       "metvox predict -i raw/imagesTs -o predictions -m results/nnunet__dice-bce__3d_fullres", run}};

}  // namespace
}  // namespace metvox
