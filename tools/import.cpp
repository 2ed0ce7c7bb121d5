// SPDX-License-Identifier: Apache-2.0
#include "segmentation/exchange/import_model.h"
#include "tools/cli.h"

namespace metvox {
namespace {

struct Request {
  Path source;
  NnunetImport nnunet;
  Path like;
  std::string configuration = "3d_fullres";
  std::vector<std::string> channels, labels;
  std::optional<std::array<double, 3>> spacing_mm;
  std::optional<std::array<int64_t, 3>> patch;
  bool mask = false;
};

bool parse(CommandLine& line, Request& r) {
  line.positional("SOURCE", r.source,
                  "a model folder of nnU-Net v2, or a .pt file with the state dict of a MONAI SegResNet");
  line.option("out,o", r.nnunet.results, "RESULTS", "where the model folder goes", Need::required);
  line.option("folds,f", r.nnunet.folds, "FOLD",
              "nnU-Net: folds to import; default: every one that has the checkpoint");
  line.choice("checkpoint", r.nnunet.checkpoint, {"final", "best", "latest"}, "nnU-Net: which checkpoint of a fold");
  line.option("like", r.like, "DIR", "MONAI: a folder whose plans.json and dataset.json describe the weights");
  line.option("config,c", r.configuration, "NAME", "MONAI, with --like: configuration of these plans");
  line.option("channels", r.channels, "NAME", "MONAI: what the input channels are, in order, such as T1C T1N T2F T2W");
  line.option("labels", r.labels, "NAME=VALUES", "MONAI: what the outputs are, in order, such as WT=1,2,3 TC=1,3 ET=3");
  line.option("spacing", r.spacing_mm, "Z Y X", "MONAI: voxels in mm that the images are resampled to");
  line.option("patch-size", r.patch, "Z Y X", "MONAI: voxels of a window, multiples of 8");
  line.option("mask-norm", r.mask, "MONAI: images are normalised over what is not zero");
  line.option("overwrite", r.nnunet.overwrite, "replace a model that is there already");
  line.common({Common::json, Common::quiet});
  if (!line.parse()) return false;
  r.nnunet.source = r.source;
  return true;
}

MonaiImport monai_request(const CommandLine& line, const Request& r) {
  MonaiImport out{r.source, r.nnunet.results, {}, r.nnunet.overwrite};
  const bool described = !r.channels.empty() || !r.labels.empty() || r.spacing_mm || r.patch || r.mask;
  if (!r.like.empty()) {
    if (described) fail(Fault::usage, "--like takes all from a folder; leave out --channels, --labels, --spacing, ...");
    out.described = {read_description(r.like / "dataset.json"), read_plans(r.like / "plans.json"), r.configuration};
    return out;
  }
  if (line.given("config")) fail(Fault::usage, "--config chooses among the plans of --like");
  for (const auto& [name, given] : {std::pair{"--channels", !r.channels.empty()},
                                    {"--labels", !r.labels.empty()},
                                    {"--spacing", r.spacing_mm.has_value()},
                                    {"--patch-size", r.patch.has_value()}})
    if (!given)
      fail(Fault::usage, "a file of weights does not say what they are for: ", name,
           " is missing (or --like, a folder with plans.json and dataset.json); for example\n  metvox import model.pt "
           "--channels T1C T1N T2F T2W --labels WT=1,2,3 TC=1,3 ET=3 --spacing 1 1 1 --patch-size 128 128 128 "
           "--mask-norm --out results");
  const DatasetDescription dataset = description_for_weights(r.source.stem().string(), r.channels, r.labels);
  out.described = {dataset, plans_for_weights(dataset, *r.spacing_mm, *r.patch, r.mask), "3d_fullres"};
  return out;
}

int run(CommandLine& line) {
  Request r;
  if (!parse(line, r)) return 0;
  if (!std::filesystem::exists(r.source)) fail(Fault::input, "there is no file or folder ", r.source.string());
  ImportedModel model;
  if (std::filesystem::is_directory(r.source)) {
    for (const char* name : {"like", "config", "channels", "labels", "spacing", "patch-size", "mask-norm"})
      if (line.given(name)) fail(Fault::usage, "--", name, " is for a file of weights; a model folder says it itself");
    model = import_nnunet(r.nnunet);
  } else {
    for (const char* name : {"folds", "checkpoint"})
      if (line.given(name)) fail(Fault::usage, "--", name, " is for a model folder of nnU-Net");
    model = import_monai(monai_request(line, r));
  }
  std::string folds;
  for (const std::string& fold : model.folds) folds += (folds.empty() ? "" : ", ") + fold;
  line.say(model.network, ", ", model.weights, " weights, fold", model.folds.size() > 1 ? "s " : " ", folds,
           model.trainer.empty() ? "" : ", trained by " + model.trainer);
  if (line.values().json)
    print_json({{"model", model.model.string()},
                {"network", model.network},
                {"loss", model.loss},
                {"trainer", model.trainer},
                {"weights", model.weights},
                {"folds", model.folds}});
  else std::printf("%s\n", model.model.string().c_str());
  return 0;
}

const VerbEntry entry{{"import", Stage::model, "take over a model of nnU-Net v2 or MONAI",
                       "metvox import nnUNetTrainer__nnUNetPlans__3d_fullres --out results", run}};

}  // namespace
}  // namespace metvox
