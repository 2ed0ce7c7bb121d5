// SPDX-License-Identifier: Apache-2.0
#include "segmentation/training/checkpoint.h"

#include "segmentation/networks/model.h"

namespace metvox {
namespace {

constexpr const char* kStatePrefix = "optimizer.";

}  // namespace

void write_checkpoint(const Path& path, Learner& learner, const TrainingState& state, const CheckpointFacts& facts) {
  Json json = {{"format", 1}};
  json.update(facts.facts);
  json["epoch"] = state.epoch();
  json["optimizer_steps"] = learner.optimizer().steps();
  json["ema_dice"] = state.ema_dice;
  json["best_ema_dice"] = state.best_ema;
  json["inference_allowed_mirroring_axes"] = {0, 1, 2};
  json["logging"] = Json::array();  // without times, so that equal runs write equal files
  for (const EpochRecord& r : state.history) json["logging"].push_back(to_json(r, facts.targets));
  std::vector<Tensor> on_host;  // what the views look at
  std::vector<NamedView> tensors;
  const auto add = [&](const std::string& name, const Tensor& tensor) {
    on_host.push_back(tensor.to({}));
    tensors.push_back({name, on_host.back().view()});
  };
  for (const Parameter& p : learner.store().parameters()) add(p.name, learner.store().read(p));
  for (const auto& [name, tensor] : learner.optimizer().state()) add(kStatePrefix + name, tensor);
  write_safetensors(path, tensors,
                    {{"metvox", json_text(json, -1)},
                     {"plans", json_text(facts.plans, -1)},
                     {"dataset", json_text(facts.dataset, -1)}});
}

ResumedRun read_checkpoint(const Path& path, Learner& learner) {
  const SafeTensors file = read_safetensors(path);
  const auto metadata = file.metadata.find("metvox");
  if (metadata == file.metadata.end())
    fail(Fault::input, path.string(), ": its metadata has no \"metvox\": no checkpoint of ours");
  ResumedRun run;
  run.facts = parse_json(metadata->second, path);
  load_parameters(learner.store(), file, path);
  for (const auto& [name, tensor] : learner.optimizer().state()) {
    const auto found = file.tensors.find(kStatePrefix + name);
    if (found == file.tensors.end() || found->second.shape() != tensor.shape() ||
        found->second.dtype() != tensor.dtype())
      fail(Fault::input, path.string(), ": the optimizer's \"", name,
           "\" is missing or of another size than the network needs");
    Stream stream(tensor.device());
    transfer(stream, found->second.view(), tensor.view());
  }
  learner.optimizer().set_steps(get<int64_t>(run.facts, "optimizer_steps", path));
  for (const Json& line : get<Json>(run.facts, "logging", path))
    run.state.history.push_back(record_from_json(line, path));
  if (run.state.epoch() != get<int64_t>(run.facts, "epoch", path))
    fail(Fault::input, path.string(), ": ", run.state.epoch(), " epochs are logged, but epoch ",
         run.facts.at("epoch").dump(), " is recorded");
  const auto number = [&](const char* key) {
    const Json value = get<Json>(run.facts, key, path);
    return value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
  };
  run.state.ema_dice = number("ema_dice");
  run.state.best_ema = number("best_ema_dice");
  return run;
}

}  // namespace metvox
