// SPDX-License-Identifier: Apache-2.0
#include "segmentation/exchange/import_model.h"

#include <algorithm>

#include "segmentation/exchange/known_plans.h"
#include "segmentation/exchange/state_dict.h"
#include "segmentation/training/learner.h"

namespace metvox {
namespace {

namespace fs = std::filesystem;

// A fold on its way: judged, then written.
struct Fold {
  std::string name;
  Path file;
  Json facts;
};

// The network that the weights are of.
struct Foreign {
  Plans plans;
  DatasetDescription dataset;
  std::string network, loss, configuration;
  const Configuration& config() const { return plans.configuration(configuration, "plans"); }
};

std::unique_ptr<Network> make_network(const Foreign& t, ParameterStore& store) {
  return find_network(t.network).make(store, t.config(), static_cast<int>(input_channels(t.dataset, t.config())),
                                      static_cast<int>(t.dataset.labels.heads().size()));
}

// Where the weights stand in the file.
PickleValue weights_of(const TorchFile& file) {
  const PickleValue root = file.root();
  for (const char* key : {"network_weights", "state_dict", "model_state_dict", "model", "network"})
    if (const auto found = root.find(key); found && found->is_dict()) return *found;
  if (root.is_dict()) return root;
  fail(Fault::input, file.path().string(), ": holds no dict of weights; save model.state_dict()");
}

// Which network; the names of its first weights tell.
std::string network_of(const StateDict& weights, const Path& file) {
  if (weights.has("convInit.conv.weight")) return "segresnet";
  if (weights.has("encoder.stages.0.0.convs.0.conv.weight") || weights.has("encoder.stem.convs.0.conv.weight"))
    return "nnunet";
  fail(Fault::input, file.string(),
       ": holds the weights of no network that is known here: neither convInit.conv.weight (MONAI's SegResNet) nor "
       "encoder.stages.0.0.convs.0.conv.weight (PlainConvUNet) nor encoder.stem.convs.0.conv.weight "
       "(ResidualEncoderUNet)");
}

const char* first_weight(const Foreign& t) {
  if (t.network == "segresnet") return "convInit.conv.weight";
  return t.config().architecture.residual() ? "encoder.stem.convs.0.conv.weight"
                                            : "encoder.stages.0.0.convs.0.conv.weight";
}

std::string head_weight(const Foreign& t) {
  if (t.network == "segresnet") return "conv_final.2.conv.weight";
  return "decoder.seg_layers." + std::to_string(t.config().architecture.n_stages() - 2) + ".weight";
}

// What dataset.json and plans.json say, against each other and against the weights, before any shape inside is
// compared: these are the sentences that help.
void require_described(const Foreign& t, const StateDict& weights, const Path& file, const Path& dataset_json) {
  const size_t channels = t.dataset.channel_names.size(), heads = t.dataset.labels.heads().size();
  if (t.config().normalization_schemes.size() != channels)
    fail(Fault::input, dataset_json.string(), ": names ", channels, " channels, but the plans normalise ",
         t.config().normalization_schemes.size());
  const auto extent = [&](const std::string& name, size_t axis) {
    const std::vector<int64_t>& shape = weights.shape(name);
    if (shape.size() <= axis) fail(Fault::input, file.string(), ": ", name, " is no weight of a convolution");
    return static_cast<size_t>(shape[axis]);
  };
  const auto inputs = static_cast<size_t>(input_channels(t.dataset, t.config()));
  if (const size_t had = extent(first_weight(t), 1); had != inputs)
    fail(Fault::input, dataset_json.string(), ": names ", channels, " channels",
         inputs > channels ? sentence(" and ", inputs - channels, " labels of the previous stage") : "",
         ", but the weights of ", file.string(), " are for ", had);
  if (const size_t had = extent(head_weight(t), 0); had != heads)
    fail(Fault::input, dataset_json.string(), ": its labels make ", heads, " heads, but the weights of ", file.string(),
         " have ", had);
}

// Axes that may be mirrored, of (z, y, x); nnU-Net counts those of 2-D plans from y.
Json mirror_axes(const Json& axes, size_t dimensions, const Path& file) {
  Json out = Json::array();
  if (axes.is_null()) return out;
  for (const Json& axis : axes.is_array() ? axes : Json::array({axes})) {
    if (!axis.is_number_integer() || axis < 0 || axis >= dimensions)
      fail(Fault::input, file.string(), ": inference_allowed_mirroring_axes is ", axes.dump());
    out.push_back(axis.get<int>() + 3 - static_cast<int>(dimensions));
  }
  return out;
}

Json json_or_null(const PickleValue& root, const char* key) {
  const auto found = root.find(key);
  return found ? found->json() : Json();
}

// Folds of the folder that have the checkpoint, those wanted first of all.
std::vector<std::string> folds_with(const NnunetImport& r) {
  const std::string name = "checkpoint_" + r.checkpoint + ".pth";
  std::vector<std::string> found, others;
  for (const auto& entry : fs::directory_iterator(r.source)) {
    const std::string folder = entry.path().filename().string();
    if (!entry.is_directory() || !folder.starts_with("fold_")) continue;
    (fs::exists(entry.path() / name) ? found : others).push_back(folder.substr(5));
  }
  std::sort(found.begin(), found.end());
  for (const std::string& fold : r.folds)
    if (std::find(found.begin(), found.end(), fold) == found.end())
      fail(Fault::input, r.source.string(), ": fold ", fold, " has no ", name);
  if (found.empty())
    fail(
        Fault::input, r.source.string(), ": no fold has a ", name,
        others.empty() ? "; a model of nnU-Net has folders fold_0, fold_1, ..." : "; choose another with --checkpoint");
  return r.folds.empty() ? found : r.folds;
}

void require_nnunet_folder(const Path& source) {
  require_folder(source);
  for (const char* old : {"plans.pkl", "postprocessing.json"})
    if (fs::exists(source / old) && !fs::exists(source / "plans.json"))
      fail(Fault::input, source.string(), ": holds ", old,
           ", a model of nnU-Net v1; models of v2 are read, with plans.json");
  for (const char* name : {"plans.json", "dataset.json"})
    if (!fs::exists(source / name))
      fail(Fault::input, source.string(), ": has no ", name,
           "; name the folder TRAINER__PLANS__CONFIGURATION that nnUNetv2_train wrote");
}

std::string loss_of(const std::string& trainer, const Labels& labels) {
  return trainer.find("Tversky") != std::string::npos && labels.has_regions() ? "tversky-bce" : default_loss(labels);
}

void refuse_to_replace(const Path& model, const std::vector<Fold>& folds, const std::string& checkpoint,
                       bool overwrite) {
  if (overwrite) return;
  for (const Fold& fold : folds) {
    const Path there = model / ("fold_" + fold.name) / ("checkpoint_" + checkpoint + ".safetensors");
    if (fs::exists(there))
      fail(Fault::usage, there.string(), " is there already; replace it with --overwrite, or import to another --out");
  }
}

// A model folder may hold folds of one model only.
void require_same_model(const Path& model, const Json& plans, const Json& dataset) {
  for (const auto& [name, json] : {std::pair{"plans.json", &plans}, std::pair{"dataset.json", &dataset}})
    if (fs::exists(model / name) && read_json(model / name) != *json)
      fail(Fault::usage, (model / name).string(), " is of another model; import to another --out");
}

ImportedModel write_model(const Foreign& t, const Path& results, const std::vector<Fold>& folds,
                          const std::string& checkpoint, bool overwrite) {
  ImportedModel out;
  out.model = results / model_folder_name(t.network, t.loss, t.configuration);
  out.network = t.network;
  out.loss = t.loss;
  refuse_to_replace(out.model, folds, checkpoint, overwrite);
  const Json plans = to_json(t.plans);
  if (!overwrite) require_same_model(out.model, plans, t.dataset.json);
  const auto store_of = [&](const Fold& fold, ParameterStore& store) {
    const auto network = make_network(t, store);
    TorchFile file(fold.file);
    StateDict(file, weights_of(file)).load(store);
  };
  for (const Fold& fold : folds) {  // every tensor is read, and its checksum compared, before the first byte is written
    ParameterStore store;
    store_of(fold, store);
    out.weights = store.size();
  }
  make_folder(out.model);
  write_json(out.model / "plans.json", plans);
  write_json(out.model / "dataset.json", t.dataset.json);
  for (const Fold& fold : folds) {
    ParameterStore store;
    store_of(fold, store);
    std::vector<NamedView> tensors;
    for (const Parameter& p : store.parameters()) tensors.push_back({p.name, store.value(p)});
    const Path folder = out.model / ("fold_" + fold.name);
    make_folder(folder);
    write_safetensors(folder / ("checkpoint_" + checkpoint + ".safetensors"), tensors,
                      {{"metvox", json_text(fold.facts, -1)},
                       {"plans", json_text(plans, -1)},
                       {"dataset", json_text(t.dataset.json, -1)}});
    out.folds.push_back(fold.name);
  }
  return out;
}

Json fold_facts(const Foreign& t, const std::string& fold, const Path& file) {
  return {{"format", 1},
          {"network", t.network},
          {"loss", t.loss},
          {"configuration", t.configuration},
          {"fold", fold},
          {"imported_from", fs::absolute(file).lexically_normal().string()},
          {"version", METVOX_VERSION}};
}

// One fold's checkpoint, judged; the first also says what the model is.
Fold judge_nnunet_fold(const NnunetImport& r, const std::string& name, bool first, Foreign& t, ImportedModel& out) {
  const Path path = r.source / ("fold_" + name) / ("checkpoint_" + r.checkpoint + ".pth");
  const Path plans_json = r.source / "plans.json", dataset_json = r.source / "dataset.json";
  TorchFile file(path);
  const PickleValue root = file.root();
  const auto init = root.find("init_args");
  const auto configuration = init ? init->find("configuration") : std::nullopt;
  if (!root.find("network_weights") || !configuration || !configuration->is_text())
    fail(Fault::input, path.string(),
         ": is no checkpoint of nnU-Net: it lacks network_weights or init_args with a configuration");
  const StateDict weights(file, weights_of(file));
  const std::string network = network_of(weights, path);
  const auto trainer = root.find("trainer_name");
  const std::string trainer_name = trainer && trainer->is_text() ? trainer->text() : "nnUNetTrainer";
  if (first) {
    require_known_plans(read_json(plans_json), configuration->text(), plans_json);
    t.plans = read_plans(plans_json);
    t.configuration = configuration->text();
    t.plans.configuration(t.configuration, plans_json);
    t.network = network;
    t.loss = loss_of(trainer_name, t.dataset.labels);
    out.trainer = trainer_name;
  } else if (network != t.network || configuration->text() != t.configuration) {
    fail(Fault::input, path.string(), ": is ", network, " of ", configuration->text(), ", but the other folds are ",
         t.network, " of ", t.configuration, "; name the folds to import with -f");
  }
  if (const auto trained = init->find("dataset_json"))
    require_same_description(t.dataset, dataset_json, trained->json(), path);
  if (const auto trained = init->find("plans"))
    require_same_plans(t.plans, plans_json, trained->json(), t.configuration, path);
  require_described(t, weights, path, dataset_json);
  ParameterStore store;
  const auto made = make_network(t, store);
  weights.require_fits(store);
  Fold fold{name, path, fold_facts(t, name, path)};
  fold.facts["trainer_name"] = trainer_name;
  fold.facts["epoch"] = json_or_null(root, "current_epoch");
  fold.facts["inference_allowed_mirroring_axes"] =
      mirror_axes(json_or_null(root, "inference_allowed_mirroring_axes"), t.config().patch_size.size(), path);
  return fold;
}

}  // namespace

ImportedModel import_nnunet(const NnunetImport& r) {
  require_nnunet_folder(r.source);
  Foreign t;
  t.dataset = read_description(r.source / "dataset.json");
  ImportedModel told;
  std::vector<Fold> folds;
  for (const std::string& name : folds_with(r)) folds.push_back(judge_nnunet_fold(r, name, folds.empty(), t, told));
  ImportedModel out = write_model(t, r.results, folds, r.checkpoint, r.overwrite);
  out.trainer = told.trainer;
  return out;
}

ImportedModel import_monai(const MonaiImport& r) {
  TorchFile file(r.file);
  const StateDict weights(file, weights_of(file));
  if (network_of(weights, r.file) != "segresnet")
    fail(Fault::input, r.file.string(), ": holds a network of nnU-Net; import its model folder, with plans.json");
  Foreign t{r.described.plans, r.described.dataset, "segresnet", default_loss(r.described.dataset.labels),
            r.described.configuration};
  const int64_t filters = weights.shape("convInit.conv.weight").at(0);
  constexpr int64_t kMost = 1024;
  if (filters < 8 || filters > kMost) fail(Fault::input, r.file.string(), ": begins with ", filters, " filters");
  for (Configuration& c : t.plans.configurations)
    if (c.name == t.configuration) c.architecture.features_per_stage[0] = static_cast<int>(filters);
  require_described(t, weights, r.file, "the description");
  ParameterStore store;
  const auto network = make_network(t, store);
  weights.require_fits(store);
  for (int a = 0; a < 3; ++a)
    if (t.config().patch()[a] % network->divisor()[a] != 0)
      fail(Fault::usage, "--patch-size holds ", t.config().patch()[a], "; SegResNet halves each axis three times, so ",
           network->divisor()[a], " must divide it");
  Fold fold{"all", r.file, fold_facts(t, "all", r.file)};
  fold.facts["inference_allowed_mirroring_axes"] = {0, 1, 2};
  return write_model(t, r.results, {fold}, "final", r.overwrite);
}

}  // namespace metvox
