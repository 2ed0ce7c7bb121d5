// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/config.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "layers/loss.h"
#include "layers/named.h"
#include "segmentation/networks/network.h"

namespace metvox {
namespace {

constexpr int64_t kMost = 1000000;
const std::string kWordCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

// The keys of one object, taken one by one; finish() refuses what was not asked for. "comment" may stand anywhere.
class Fields {
 public:
  Fields(const Json& json, const Path& where, std::string name) : json_(json), where_(where), name_(std::move(name)) {
    if (!json.is_object()) refuse("is not an object of keys and values");
  }
  bool has(const std::string& key) {
    known_.push_back(key);
    return json_.contains(key) && !json_[key].is_null();
  }
  template <class T>
  void take(const std::string& key, T& value) {
    if (has(key)) value = get<T>(json_, key, where_);
  }
  template <class T>
  void take(const std::string& key, std::optional<T>& value) {
    if (has(key)) value = get<T>(json_, key, where_);
  }
  void take(const std::string& key, Path& value) {
    if (has(key)) value = path_of(get<std::string>(json_, key, where_), key);
  }
  void take(const std::string& key, std::vector<Path>& values) {
    if (!has(key)) return;
    values.clear();
    for (const auto& text : get<std::vector<std::string>>(json_, key, where_)) values.push_back(path_of(text, key));
  }
  // One of a few words.
  void choose(const std::string& key, std::string& value, const std::vector<std::string>& words) {
    take(key, value);
    if (std::find(words.begin(), words.end(), value) == words.end())
      refuse("has \"" + value + "\" as \"" + key + "\"; it may be " + list(words));
  }
  void count(const std::string& key, int64_t& value) {
    take(key, value);
    if (value < 1 || value > kMost) refuse(sentence("has ", value, " as \"", key, "\"; it may be 1 to ", kMost));
  }
  Fields object(const std::string& key) {
    if (!has(key)) refuse("lacks the key \"" + key + "\"");
    return {json_[key], where_, name_.empty() ? key : name_ + "." + key};
  }
  const Json& json() const { return json_; }
  void finish() {
    for (const auto& [key, value] : json_.items())
      if (key != "comment" && std::find(known_.begin(), known_.end(), key) == known_.end())
        refuse("has an unknown key \"" + key + "\"; it may have " + list(known_) + ", comment");
  }
  [[noreturn]] void refuse(const std::string& why) const {
    fail(Fault::input, where_.string(), ": ", name_.empty() ? "the study" : "\"" + name_ + "\"", " ", why);
  }
  static std::string list(const std::vector<std::string>& words) {
    std::string all;
    for (const auto& word : words) all += (all.empty() ? "" : ", ") + word;
    return all;
  }

 private:
  Path path_of(const std::string& text, const std::string& key) const {
    if (text.empty()) refuse("has an empty path \"" + key + "\"");
    return std::filesystem::absolute(where_.parent_path() / text).lexically_normal();
  }
  const Json& json_;
  const Path& where_;
  std::string name_;
  std::vector<std::string> known_{};
};

StudyConfig defaults_of(const std::string& scale) {
  StudyConfig c;
  c.scale = scale;
  c.models = {{"default", "nnunet", "dice-bce", {}},
              {"tverskybce", "nnunet", "tversky-bce", {}},
              {"segresnet", "segresnet", "dice-bce", {}}};
  c.folds = {"0", "1", "2", "3", "4"};
  c.pretraining_epochs = 200;
  c.training_epochs = 100;
  if (scale != "demo") return c;
  c.plan.base_features = 8;
  c.plan.patch_size = Int3{48, 48, 48};
  c.plan.batch_size = 2;
  c.models[2].lr = 2e-3;  // 1e-4 does not move in so few steps
  c.folds = {"0", "1", "2"};
  c.pretraining_fold = "0";
  c.pretraining_epochs = 40;
  c.training_epochs = 8;
  c.iterations = 75;
  c.val_iterations = 5;
  c.mirroring = false;
  return c;
}

// What a phantom cohort is where the file does not say.
PhantomOptions phantom_defaults(const std::string& scale, const std::string& role) {
  PhantomOptions p;
  const bool demo = scale == "demo";
  if (demo) p.size = {96, 112, 96};
  p.domain = role == "public" ? "public" : "private";
  p.cases = role == "public" ? (demo ? 24 : 652) : role == "private" ? (demo ? 12 : 26) : (demo ? 8 : 10);
  p.seed = role == "public" ? 1 : role == "private" ? 1001 : 2001;
  return p;
}

PhantomOptions phantom_from(Fields fields, PhantomOptions p) {
  fields.count("cases", p.cases);
  fields.take("seed", p.seed);
  fields.choose("domain", p.domain, {"public", "private"});
  fields.take("size", p.size);
  fields.take("label_maps", p.label_maps);
  for (int64_t extent : p.size)
    if (extent < 8 || extent > 1024) fields.refuse("has a size beyond 8 to 1024 voxels");
  fields.finish();
  return p;
}

StudyData data_from(Fields fields, const std::string& scale, const std::string& role) {
  StudyData d;
  fields.take("raw", d.raw);
  if (fields.has("phantom")) d.phantom = phantom_from(fields.object("phantom"), phantom_defaults(scale, role));
  fields.finish();
  if (d.raw.empty() != d.phantom.has_value()) fields.refuse("needs one of \"raw\" and \"phantom\"");
  return d;
}

HeldOut held_out_from(Fields fields, const std::string& scale, const StudyData& public_data,
                      const StudyData& private_data) {
  HeldOut h;
  fields.take("images", h.images);
  fields.take("truth", h.truth);
  fields.take("cases", h.cases);
  if (fields.has("phantom")) h.phantom = phantom_from(fields.object("phantom"), phantom_defaults(scale, "held_out"));
  fields.finish();
  if (h.images.empty() != h.truth.empty()) fields.refuse("needs both \"images\" and \"truth\"");
  if (!h.images.empty() + !h.cases.empty() + h.phantom.has_value() != 1)
    fields.refuse("needs one of \"images\" with \"truth\", \"cases\" and \"phantom\"");
  if (!h.cases.empty() && private_data.phantom)
    fields.refuse("names cases, but the private set is made of phantoms: give \"phantom\" with a seed of its own");
  std::sort(h.cases.begin(), h.cases.end());
  if (std::adjacent_find(h.cases.begin(), h.cases.end()) != h.cases.end()) fields.refuse("names a case twice");
  for (const auto& [data, set] : {std::pair{&public_data, "public"}, {&private_data, "private"}})
    if (h.phantom && data->phantom && h.phantom->seed == data->phantom->seed)
      fields.refuse(sentence("has the seed of the ", set, " set: they would be the same heads"));
  return h;
}

void plan_from(Fields fields, PlannerOptions& p) {
  fields.take("gpu_memory_gb", p.gpu_memory_gb);
  fields.choose("preset", p.preset, {"default", "resenc-m", "resenc-l", "resenc-xl"});
  fields.take("base_features", p.base_features);
  fields.take("patch_size", p.patch_size);
  fields.take("batch_size", p.batch_size);
  fields.finish();
  if (!(p.gpu_memory_gb >= 0 && std::isfinite(p.gpu_memory_gb))) fields.refuse("has a \"gpu_memory_gb\" below 0");
  if (p.base_features < 1) fields.refuse("has \"base_features\" below 1");
  if (p.batch_size < 0) fields.refuse("has a \"batch_size\" below 0");
  for (int64_t extent : p.patch_size.value_or(Int3{1, 1, 1}))
    if (extent < 1) fields.refuse("has a \"patch_size\" below 1");
}

template <class Table>
void require_name(const Fields& fields, const Table& table, const std::string& what, const std::string& name) {
  if (table.contains(name)) return;
  fields.refuse(name.empty() ? "lacks the key \"" + what + "\""
                             : "has the " + what + " \"" + name + "\"; there are " + names_of(table));
}

std::vector<StudyModel> models_from(Fields fields, const std::vector<StudyModel>& known) {
  std::vector<StudyModel> models;
  for (const auto& [name, value] : fields.json().items()) {
    if (name == "comment") continue;
    if (name.empty() || name.find_first_not_of(kWordCharacters) != std::string::npos || name == "pooled")
      fields.refuse("has a model \"" + name + "\"; a name is letters, digits, - and _, and not pooled");
    const auto as_known =
        std::find_if(known.begin(), known.end(), [&, n = name](const StudyModel& m) { return m.name == n; });
    StudyModel m = as_known == known.end() ? StudyModel{name, "", "", {}} : *as_known;
    Fields of_model = fields.object(name);
    of_model.take("network", m.network);
    of_model.take("loss", m.loss);
    of_model.take("lr", m.lr);
    of_model.finish();
    require_name(of_model, networks(), "network", m.network);
    require_name(of_model, losses(), "loss", m.loss);
    if (m.lr && !(std::isfinite(*m.lr) && *m.lr > 0)) of_model.refuse("has an \"lr\" that is not above 0");
    models.push_back(m);
  }
  if (models.empty()) fields.refuse("names no model");
  return models;
}

bool is_number(const std::string& text) {
  return !text.empty() && text.size() < 7 && text.find_first_not_of("0123456789") == std::string::npos &&
         (text.size() == 1 || text[0] != '0');
}

// Numbers, or the word all alone.
std::vector<std::string> folds_from(const Fields& fields, const Json& list) {
  std::vector<std::string> folds;
  if (!list.is_array() || list.empty()) fields.refuse("needs \"folds\" as a list such as [0, 1, 2, 3, 4] or [\"all\"]");
  for (const Json& fold : list) {
    const std::string text = fold.is_string() ? fold.get<std::string>() : fold.dump();
    if (!is_number(text) && !(text == "all" && list.size() == 1))
      fields.refuse("has " + fold.dump() + " in \"folds\"; they are numbers from 0, or all, alone");
    if (std::find(folds.begin(), folds.end(), text) != folds.end()) fields.refuse("has fold " + text + " twice");
    folds.push_back(text);
  }
  return folds;
}

void pretraining_from(Fields fields, StudyConfig& c) {
  fields.count("epochs", c.pretraining_epochs);
  if (fields.has("fold")) {
    const Json& fold = fields.json()["fold"];
    c.pretraining_fold = fold.is_string() ? fold.get<std::string>() : fold.dump();
  }
  fields.finish();
  if (c.pretraining_fold != "matched" && c.pretraining_fold != "all" && !is_number(c.pretraining_fold))
    fields.refuse("has the fold \"" + c.pretraining_fold + "\"; it may be matched, all or a number from 0");
}

void prediction_from(Fields fields, StudyConfig& c) {
  fields.take("mirroring", c.mirroring);
  fields.take("step_size", c.step_size);
  fields.take("probabilities", c.probabilities);
  fields.finish();
  if (!(c.step_size >= 0.05 && c.step_size <= 1)) fields.refuse("has a \"step_size\" beyond 0.05 to 1");
}

Json phantom_json(const PhantomOptions& p) {
  Json json = {{"cases", p.cases}, {"seed", p.seed}, {"domain", p.domain}, {"size", p.size}};
  for (const Path& map : p.label_maps) json["label_maps"].push_back(map.string());
  return json;
}
Json data_json(const StudyData& d) {
  if (d.phantom) return {{"phantom", phantom_json(*d.phantom)}};
  return {{"raw", d.raw.string()}};
}
Json held_out_json(const HeldOut& h) {
  if (h.phantom) return {{"phantom", phantom_json(*h.phantom)}};
  if (!h.cases.empty()) return {{"cases", h.cases}};
  return {{"images", h.images.string()}, {"truth", h.truth.string()}};
}

}  // namespace

const StudyModel& StudyConfig::model(const std::string& name) const {
  const auto found = std::find_if(models.begin(), models.end(), [&](const StudyModel& m) { return m.name == name; });
  check(found != models.end(), "the study has no model ", name);
  return *found;
}

std::vector<std::string> StudyConfig::pretraining_folds() const {
  return pretraining_fold == "matched" ? folds : std::vector<std::string>{pretraining_fold};
}

StudyConfig study_config(const Json& json, const Path& where, const std::string& scale) {
  Fields fields(json, where, "");
  std::string named = "paper";
  fields.choose("scale", named, {"demo", "paper"});
  StudyConfig c = defaults_of(scale.empty() ? named : scale);
  c.public_data = data_from(fields.object("public"), c.scale, "public");
  c.private_data = data_from(fields.object("private"), c.scale, "private");
  c.held_out = held_out_from(fields.object("held_out"), c.scale, c.public_data, c.private_data);
  if (fields.has("plan")) plan_from(fields.object("plan"), c.plan);
  fields.take("configuration", c.configuration);
  if (fields.has("models")) c.models = models_from(fields.object("models"), c.models);
  if (fields.has("folds")) c.folds = folds_from(fields, json["folds"]);
  fields.take("seed", c.seed);
  if (fields.has("pretraining")) pretraining_from(fields.object("pretraining"), c);
  if (fields.has("training")) {
    Fields training = fields.object("training");
    training.count("epochs", c.training_epochs);
    training.finish();
  }
  fields.count("iterations", c.iterations);
  fields.count("val_iterations", c.val_iterations);
  if (fields.has("prediction")) prediction_from(fields.object("prediction"), c);
  const auto has_model = [&](const std::string& name) {
    return std::any_of(c.models.begin(), c.models.end(), [&](const StudyModel& m) { return m.name == name; });
  };
  c.reference = has_model("tverskybce") ? "tverskybce" : c.models.front().name;
  fields.take("reference", c.reference);
  fields.finish();
  if (!has_model(c.reference))
    fields.refuse("has the reference \"" + c.reference + "\", which is not one of its models");
  return c;
}

Json to_json(const StudyConfig& c) {
  Json models = Json::object(), plan = {{"gpu_memory_gb", c.plan.gpu_memory_gb},
                                        {"preset", c.plan.preset},
                                        {"base_features", c.plan.base_features},
                                        {"batch_size", c.plan.batch_size}};
  if (c.plan.patch_size) plan["patch_size"] = *c.plan.patch_size;
  for (const StudyModel& m : c.models) {
    models[m.name] = {{"network", m.network}, {"loss", m.loss}};
    if (m.lr) models[m.name]["lr"] = *m.lr;
  }
  return {{"scale", c.scale},
          {"public", data_json(c.public_data)},
          {"private", data_json(c.private_data)},
          {"held_out", held_out_json(c.held_out)},
          {"plan", plan},
          {"configuration", c.configuration},
          {"models", models},
          {"folds", c.folds},
          {"seed", c.seed},
          {"pretraining", {{"epochs", c.pretraining_epochs}, {"fold", c.pretraining_fold}}},
          {"training", {{"epochs", c.training_epochs}}},
          {"iterations", c.iterations},
          {"val_iterations", c.val_iterations},
          {"prediction", {{"mirroring", c.mirroring}, {"step_size", c.step_size}, {"probabilities", c.probabilities}}},
          {"reference", c.reference}};
}

}  // namespace metvox
