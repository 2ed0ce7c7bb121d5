// SPDX-License-Identifier: Apache-2.0
#include "io/inspect.h"

#include "segmentation/networks/model.h"
#include "tools/cli.h"

namespace metvox {
namespace {

// Metadata values are text; those that hold JSON are shown as JSON.
Json metadata_json(const std::map<std::string, std::string>& metadata) {
  Json out = Json::object();
  for (const auto& [key, text] : metadata) {
    Json value = Json::parse(text, nullptr, false);
    out[key] = value.is_structured() ? value : Json(text);
  }
  return out;
}

Json tensors_json(const Path& path) {
  const SafeTensorsHeader header = read_safetensors_header(path);
  Json tensors = Json::array();
  int64_t parameters = 0, state = 0;
  for (const auto& [name, spec] : header.specs) {
    Json shape = Json::array();
    for (int i = 0; i < spec.shape.rank(); ++i) shape.push_back(spec.shape[i]);
    tensors.push_back({{"name", name}, {"dtype", name_of(spec.dtype)}, {"shape", shape}});
    (name.rfind("optimizer.", 0) == 0 ? state : parameters) += spec.shape.size();
  }
  Json out = {{"kind", "safetensors"}};
  if (header.metadata.contains("metvox")) {  // a checkpoint; any other file's tensors are just tensors
    out["parameters"] = parameters;
    out["optimizer_state"] = state;
  }
  out["tensors"] = tensors;
  out["metadata"] = metadata_json(header.metadata);
  return out;
}

Json configuration_json(const Configuration& c) {
  return {{"patch_size", c.patch_size},
          {"batch_size", c.batch_size},
          {"spacing_mm", c.spacing_mm},
          {"normalization_schemes", c.normalization_schemes},
          {"network", c.architecture.network_class_name},
          {"features_per_stage", c.architecture.features_per_stage},
          {"kernel_sizes", c.architecture.kernel_sizes},
          {"strides", c.architecture.strides}};
}

Json plans_json(const Path& path) {
  const Plans plans = read_plans(path);
  Json configurations = Json::object();
  for (const Configuration& c : plans.configurations) configurations[c.name] = configuration_json(c);
  return {{"kind", "plans"},
          {"dataset", plans.dataset_name},
          {"plans_name", plans.plans_name},
          {"planner", plans.planner},
          {"configurations", configurations}};
}

Json model_json(const Path& path) {
  std::vector<std::string> faults;
  const ModelFolder model = open_model(path, "final", {}, &faults);
  Json channels = model.dataset.channel_names, targets = Json::array(), folds = Json::object();
  for (const LabelTarget& target : model.dataset.labels.heads()) targets.push_back(target.name);
  int64_t parameters = 0;
  for (const auto& fold : model.folds) {
    const Json file = tensors_json(checkpoint_path(model, fold, "final"));
    parameters = file["parameters"];
    folds[fold] = file["metadata"].value("metvox", Json::object());
  }
  return {{"kind", "model"},          {"network", model.network},
          {"loss", model.loss},       {"configuration", model.configuration},
          {"parameters", parameters}, {"channels", channels},
          {"heads", targets},         {"plan", configuration_json(model.config())},
          {"folds", folds},           {"faults", faults}};
}

Json inspect(const Path& path, const std::string& at) {
  const bool image =
      !std::filesystem::is_directory(path) && path.extension() != ".json" && path.extension() != ".safetensors";
  if (image)
    return inspect_image(path, at.empty() ? std::nullopt : std::optional(three_from<double>(at, "--at", ',', "X,Y,Z")));
  if (!at.empty()) fail(Fault::usage, "--at: ", path.string(), " is not an image");
  if (std::filesystem::is_directory(path)) return model_json(path);
  return path.extension() == ".json" ? plans_json(path) : tensors_json(path);
}

// One key a line; tensors one a line.
void print_text(const Json& value) {
  for (const auto& [key, entry] : value.items()) {
    if (key == "tensors" || (entry.is_object() && !entry.empty())) {
      std::printf("%s\n", key.c_str());
      for (const auto& [inner, item] : entry.items())
        std::printf("  %s%s\n", entry.is_object() ? (inner + ": ").c_str() : "", json_text(item, -1).c_str());
    } else {
      std::printf("%s: %s\n", key.c_str(),
                  entry.is_string() ? entry.get<std::string>().c_str() : json_text(entry, -1).c_str());
    }
  }
}

int run(CommandLine& line) {
  Path path;
  std::string at;
  line.positional("FILE|MODEL", path, "an image, a .safetensors file, a plans.json or a model folder");
  line.option("at", at, "X,Y,Z", "add the value of the voxel nearest to this point in mm (world, R A S)");
  line.common({Common::json});
  if (!line.parse()) return 0;
  if (!std::filesystem::exists(path)) fail(Fault::input, "there is no file or folder ", path.string());
  Json found = inspect(path, at);
  const Json faults = found.value("faults", Json::array());
  for (const Json& fault : faults) line.warn(fault.get<std::string>());
  if (line.values().json) print_json(found);
  else found.erase("faults"), print_text(found);
  return faults.empty() ? 0 : code(Fault::partial);
}

const VerbEntry entry{{"inspect", Stage::results, "show what is in an image, a checkpoint, plans or a model",
                       "metvox inspect case_0000.nii.gz --json --at 10,-20,30", run}};

}  // namespace
}  // namespace metvox
