// SPDX-License-Identifier: Apache-2.0
#include "segmentation/networks/model.h"

#include <algorithm>

#include "kernels/pointwise.h"

namespace metvox {

namespace {

namespace fs = std::filesystem;

struct FoldFiles {
  std::vector<std::string> with, without;  // folds that have the checkpoint, folds that do not
};

FoldFiles find_folds(const Path& model, const std::string& checkpoint) {
  FoldFiles found;
  for (const auto& entry : fs::directory_iterator(model)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_directory() || name.rfind("fold_", 0) != 0) continue;
    const bool has = fs::exists(entry.path() / ("checkpoint_" + checkpoint + ".safetensors"));
    (has ? found.with : found.without).push_back(name.substr(5));
  }
  std::sort(found.with.begin(), found.with.end());
  std::sort(found.without.begin(), found.without.end());
  return found;
}

// Which checkpoints the folds do have, for the sentence that says the one asked for is not there.
std::string other_checkpoints(const Path& model, const std::vector<std::string>& folds) {
  std::string text;
  for (const std::string& fold : folds)
    for (const std::string name : {"final", "best", "latest"})
      if (fs::exists(model / ("fold_" + fold) / ("checkpoint_" + name + ".safetensors")))
        text += sentence(text.empty() ? "; there is " : ", ", "--checkpoint ", name, " of fold ", fold);
  return text;
}

Json checkpoint_facts(const SafeTensorsHeader& header, const Path& checkpoint) {
  const auto facts = header.metadata.find("metvox");
  if (facts == header.metadata.end())
    fail(Fault::input, checkpoint.string(), ": no \"metvox\" in its metadata, so it is no checkpoint of this program");
  const Json json = Json::parse(facts->second, nullptr, false);
  if (!json.is_object())
    fail(Fault::input, checkpoint.string(), ": the \"metvox\" of its metadata is not a JSON object");
  return json;
}

// Bits of the axes that may be mirrored; a file that does not say mirrored them all, null is none.
int mirror_axes_of(const Json& facts, const Path& checkpoint) {
  const char* key = "inference_allowed_mirroring_axes";
  if (!facts.contains(key)) return 7;
  int bits = 0;
  for (const Json& axis : facts.at(key)) {
    if (axis != 0 && axis != 1 && axis != 2) fail_json_kind(facts.at(key), key, "a list of 0, 1 and 2", checkpoint);
    bits |= 1 << axis.get<int>();
  }
  return bits;
}

// What prediction takes from plans.json, by its names there.
Json decisive(const Plans& plans, const std::string& configuration, const Path& where) {
  const Configuration& c = plans.configuration(configuration, where);
  const Architecture& a = c.architecture;
  return {{"network_class_name", a.network_class_name},
          {"features_per_stage", a.features_per_stage},
          {"kernel_sizes", a.kernel_sizes},
          {"strides", a.strides},
          {"n_conv_per_stage", a.n_conv_per_stage},
          {"n_conv_per_stage_decoder", a.n_conv_per_stage_decoder},
          {"patch_size", c.patch_size},
          {"spacing", c.spacing_mm},
          {"normalization_schemes", c.normalization_schemes},
          {"use_mask_for_norm", c.use_mask_for_norm},
          {"transpose_forward", plans.transpose_forward},
          {"foreground_intensity_properties_per_channel", intensities_json(plans.intensities)}};
}

// The same of dataset.json.
Json decisive(const DatasetDescription& dataset) {
  Json heads = Json::array();
  for (const LabelTarget& head : dataset.labels.heads()) heads.push_back({head.name, head.labels});
  return {{"channel_names", dataset.channel_names},
          {"labels", heads},
          {"regions_class_order", dataset.labels.regions_class_order}};
}

void require_same(const Json& there, const Json& trained, const Path& file, const Path& checkpoint) {
  constexpr size_t kShown = 100;
  const auto shown = [](const std::string& text) {
    return text.size() > kShown ? text.substr(0, kShown) + "..." : text;
  };
  for (const auto& [key, value] : trained.items()) {
    const std::string now = json_text(there.at(key), -1), then = json_text(value, -1);
    if (now != then)
      fail(Fault::input, file.string(), ": ", key, " is ", shown(now), ", but ", checkpoint.string(),
           " was trained with ", shown(then), "; put back the ", file.filename().string(), " of the training");
  }
}

// The files of the folder may have been edited, or taken from another model, since the training.
void require_same_as_trained(const ModelFolder& model, const SafeTensorsHeader& header,
                             const std::string& configuration, const Path& checkpoint) {
  const Path plans_json = model.path / "plans.json", dataset_json = model.path / "dataset.json";
  if (const auto text = header.metadata.find("plans"); text != header.metadata.end())
    require_same_plans(model.plans, plans_json, parse_json(text->second, checkpoint), configuration, checkpoint);
  if (const auto text = header.metadata.find("dataset"); text != header.metadata.end())
    require_same_description(model.dataset, dataset_json, parse_json(text->second, checkpoint), checkpoint);
}

// Takes a fold into the model: the first says what the model is, the others must say the same.
void add_fold(ModelFolder& model, const std::string& fold, const Path& file) {
  const SafeTensorsHeader header = read_safetensors_header(file);
  const Json facts = checkpoint_facts(header, file);
  const auto network = get<std::string>(facts, "network", file), loss = get<std::string>(facts, "loss", file),
             configuration = get<std::string>(facts, "configuration", file);
  const std::string name = model_folder_name(network, loss, configuration);
  if (!model.folds.empty() && name != model_folder_name(model.network, model.loss, model.configuration))
    fail(Fault::input, file.string(), ": is of ", name, ", but fold ", model.folds.front(), " is of ",
         model_folder_name(model.network, model.loss, model.configuration), "; name the folds to use with -f");
  require_same_as_trained(model, header, configuration, file);
  model.mirror_axes &= mirror_axes_of(facts, file);
  model.network = network;
  model.loss = loss;
  model.configuration = configuration;
  if (facts.contains("trainer_name")) model.trainer = get<std::string>(facts, "trainer_name", file);
  model.folds.push_back(fold);
}

void require_folds(const Path& model, const std::string& checkpoint, const std::vector<std::string>& there,
                   const std::vector<std::string>& wanted) {
  for (const std::string& fold : wanted) {
    if (std::count(wanted.begin(), wanted.end(), fold) > 1)
      fail(Fault::usage, "fold ", fold, " is given twice; it would count twice");
    if (std::find(there.begin(), there.end(), fold) != there.end()) continue;
    std::string names;
    for (const std::string& f : there) names += (names.empty() ? "" : ", ") + f;
    fail(Fault::input, model.string(), ": fold ", fold, " has no checkpoint_", checkpoint,
         ".safetensors; folds that have: ", names);
  }
}

void copy_parameter(ParameterStore& store, const Parameter& parameter, const Tensor& from, const Path& named) {
  if (from.shape() != parameter.shape)
    fail(Fault::input, named.string(), ": ", parameter.name, " is ", from.shape(), ", the network needs ",
         parameter.shape, "; the file belongs to another plan or network");
  const DType t = from.dtype();
  if (t != DType::f64 && t != DType::f32 && t != DType::bf16)
    fail(Fault::input, named.string(), ": ", parameter.name, " is ", name_of(t), "; weights are f32, f64 or bf16");
  Stream cpu;
  const Tensor value = Tensor::empty(parameter.shape, store.master());
  convert(cpu, from.view(), value.view());
  store.write(parameter, value);
}

const Tensor* find_tensor(const SafeTensors& file, const std::string& name) {
  const auto it = file.tensors.find(name);
  return it == file.tensors.end() ? nullptr : &it->second;
}

[[noreturn]] void fail_missing(const Parameter& parameter, const Path& named) {
  fail(Fault::input, named.string(), ": has no tensor ", parameter.name, " ", parameter.shape,
       ", which the network needs; the file belongs to another plan or network");
}

}  // namespace

int64_t previous_labels(const DatasetDescription& dataset, const Configuration& configuration) {
  return configuration.previous_stage.empty() ? 0 : dataset.labels.max_label();
}

int64_t input_channels(const DatasetDescription& dataset, const Configuration& configuration) {
  return static_cast<int64_t>(dataset.channel_names.size()) + previous_labels(dataset, configuration);
}

std::vector<std::string> input_names(std::vector<std::string> channels, int64_t inputs) {
  const auto named = static_cast<int64_t>(channels.size());
  for (int64_t label = 1; label <= inputs - named; ++label)
    channels.push_back(sentence("label ", label, " of the previous stage"));
  return channels;
}

Path next_stage_file(const Path& model, const std::string& next_stage, const std::string& id) {
  return model / "predicted_next_stage" / next_stage / (id + ".safetensors");
}

std::string model_folder_name(const std::string& network, const std::string& loss, const std::string& configuration) {
  return network + "__" + loss + "__" + configuration;
}

Path checkpoint_path(const ModelFolder& model, const std::string& fold, const std::string& checkpoint) {
  return model.path / ("fold_" + fold) / ("checkpoint_" + checkpoint + ".safetensors");
}

void require_same_plans(const Plans& now, const Path& file, const Json& trained, const std::string& configuration,
                        const Path& checkpoint) {
  require_same(decisive(now, configuration, file),
               decisive(plans_from_json(trained, checkpoint), configuration, checkpoint), file, checkpoint);
}

void require_same_description(const DatasetDescription& now, const Path& file, const Json& trained,
                              const Path& checkpoint) {
  require_same(decisive(now), decisive(description_from_json(trained, checkpoint)), file, checkpoint);
}

ModelFolder open_model(const Path& path, const std::string& checkpoint, const std::vector<std::string>& wanted,
                       std::vector<std::string>* faults) {
  if (!fs::is_directory(path))
    fail(Fault::input, path.string(), fs::exists(path) ? ": is a file, not a model folder" : ": no such model folder",
         "; `metvox train` prints the folder it writes, which holds plans.json, dataset.json and fold_0, fold_1, ...");
  if (!fs::exists(path / "plans.json"))
    fail(Fault::input, path.string(), ": is no model folder, for it holds no plans.json",
         fs::is_empty(path) ? " (nor anything else)" : "",
         "; `metvox train` prints the folder it writes, which holds plans.json, dataset.json and fold_0, fold_1, ...");
  ModelFolder model;
  model.path = path;
  model.plans = read_plans(path / "plans.json");
  model.dataset = read_description(path / "dataset.json");
  const FoldFiles found = find_folds(path, checkpoint);
  if (found.with.empty())
    fail(Fault::input, path.string(), ": no fold has a checkpoint_", checkpoint, ".safetensors",
         other_checkpoints(path, found.without));
  require_folds(path, checkpoint, found.with, wanted);
  for (const std::string& fold : wanted.empty() ? found.with : wanted) try {
      add_fold(model, fold, checkpoint_path(model, fold, checkpoint));
    } catch (const Error& e) {
      if (!faults || e.fault() != Fault::input) throw;
      faults->push_back(e.what());
    }
  if (model.folds.empty()) fail(Fault::input, path.string(), ": no fold can be used: ", faults->front());
  return model;
}

void load_parameters(ParameterStore& store, const SafeTensors& file, const Path& named) {
  for (const Parameter& parameter : store.parameters()) {
    const Tensor* from = find_tensor(file, parameter.name);
    if (!from) fail_missing(parameter, named);
    copy_parameter(store, parameter, *from, named);
  }
  store.changed();
}

}  // namespace metvox
