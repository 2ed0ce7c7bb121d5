// SPDX-License-Identifier: Apache-2.0
#include "segmentation/exchange/export_model.h"

#include "segmentation/exchange/onnx_network.h"
#include "segmentation/exchange/state_dict.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

// A fold with its weights.
struct LoadedFold {
  ParameterStore store;
  std::unique_ptr<Network> network;
  Json facts;

  LoadedFold(const ModelFolder& model, const std::string& fold, const std::string& checkpoint) {
    network = find_network(model.network)
                  .make(store, model.config(), static_cast<int>(input_channels(model.dataset, model.config())),
                        static_cast<int>(model.dataset.labels.heads().size()));
    const Path path = checkpoint_path(model, fold, checkpoint);
    const SafeTensors file = read_safetensors(path);
    load_parameters(store, file, path);
    facts = parse_json(file.metadata.at("metvox"), path);
  }
};

void write_onnx(const ModelFolder& model, const std::string& fold, const LoadedFold& loaded, const Path& path) {
  Graph graph;
  const Int3 patch = model.config().patch();
  const int64_t channels = input_channels(model.dataset, model.config());
  const Value images = graph.input("images", {{1, channels, patch[0], patch[1], patch[2]}, Kind::activation});
  OnnxFile file = onnx_network(images, loaded.network->build(images, 1).front(), loaded.store);
  file.note("plans", json_text(to_json(model.plans), -1));
  file.note("dataset", json_text(model.dataset.json, -1));
  file.note("configuration", model.configuration);
  file.note("fold", fold);
  file.write(path, model.network, METVOX_VERSION);
}

void write_weights(const ModelFolder& model, const LoadedFold& loaded, const Path& path) {
  std::vector<NamedView> tensors;
  for (const Parameter& p : loaded.store.parameters()) tensors.push_back({p.name, loaded.store.value(p)});
  write_safetensors(path, tensors,
                    {{"metvox", json_text(loaded.facts, -1)},
                     {"plans", json_text(to_json(model.plans), -1)},
                     {"dataset", json_text(model.dataset.json, -1)}});
}

// Of nnU-Net, or of luumsk/BrainMetaSeg for what nnU-Net has not; that of the import where there was one.
std::string trainer_of(const ModelFolder& model, const Json& facts) {
  if (facts.contains("trainer_name")) return get<std::string>(facts, "trainer_name", model.path);
  if (model.network == "segresnet") return "nnUNetTrainerSegResNet";
  return model.loss == "tversky-bce" ? "nnUNetTrainer_TverskyBCE" : "nnUNetTrainer";
}

Json mirror_axes(const ModelFolder& model) {
  const int dimensions = static_cast<int>(model.config().patch_size.size());
  Json axes = Json::array();
  for (int a = 3 - dimensions; a < 3; ++a)
    if (model.mirror_axes & 1 << a) axes.push_back(a - (3 - dimensions));
  return axes.empty() ? Json() : axes;
}

// What nnU-Net's predictor asks of a checkpoint; there is no state of an optimizer to go on with.
void write_nnunet_checkpoint(const ModelFolder& model, const std::string& fold, const LoadedFold& loaded,
                             const Path& path) {
  std::vector<TorchEntry> weights;
  const bool flat = model.config().patch_size.size() == 2;
  for (const Parameter& p : loaded.store.parameters()) {
    View value = loaded.store.value(p);
    const Shape& s = p.shape;
    if (flat && s.rank() == 5) value.shape = {s[0], s[1], s[3], s[4]};
    for (const std::string& name : torch_names(loaded.store, p.name)) weights.push_back({name, value});
  }
  const bool number = fold.find_first_not_of("0123456789") == std::string::npos && fold.size() < 10;
  const Json init = {{"plans", to_json(model.plans)},
                     {"configuration", model.configuration},
                     {"fold", number ? Json(std::stoi(fold)) : Json(fold)},
                     {"dataset_json", model.dataset.json}};
  write_torch_file(path, "network_weights", weights,
                   {{"optimizer_state", nullptr},
                    {"grad_scaler_state", nullptr},
                    {"logging", Json::object()},
                    {"_best_ema", nullptr},
                    {"current_epoch", loaded.facts.value("epoch", Json(0))},
                    {"init_args", init},
                    {"trainer_name", trainer_of(model, loaded.facts)},
                    {"inference_allowed_mirroring_axes", mirror_axes(model)}});
}

Path target_of(const Path& dir, const std::string& fold, const std::string& checkpoint, ExportFormat format) {
  switch (format) {
    case ExportFormat::safetensors: return dir / ("fold_" + fold + ".safetensors");
    case ExportFormat::onnx: return dir / ("fold_" + fold + ".onnx");
    case ExportFormat::nnunet: return dir / ("fold_" + fold) / ("checkpoint_" + checkpoint + ".pth");
  }
  return {};
}

}  // namespace

std::vector<Path> export_model(const ModelFolder& model, const std::string& checkpoint, ExportFormat format,
                               const Path& dir, bool overwrite) {
  std::vector<Path> files;
  for (const std::string& fold : model.folds) {
    files.push_back(target_of(dir, fold, checkpoint, format));
    if (!overwrite && fs::exists(files.back()))
      fail(Fault::usage, files.back().string(), " is there already; replace it with --overwrite");
  }
  for (size_t i = 0; i < files.size(); ++i) {
    const LoadedFold loaded(model, model.folds[i], checkpoint);
    make_folder(files[i].parent_path());
    if (format == ExportFormat::onnx) write_onnx(model, model.folds[i], loaded, files[i]);
    else if (format == ExportFormat::safetensors) write_weights(model, loaded, files[i]);
    else write_nnunet_checkpoint(model, model.folds[i], loaded, files[i]);
  }
  if (format == ExportFormat::nnunet) {
    write_json(dir / "plans.json", to_json(model.plans));
    write_json(dir / "dataset.json", model.dataset.json);
    files.push_back(dir / "plans.json");
    files.push_back(dir / "dataset.json");
  }
  return files;
}

}  // namespace metvox
