// SPDX-License-Identifier: Apache-2.0
#include "kernels/cudnn/ways.h"

#if METVOX_CUDNN

namespace metvox::cudnn {
namespace {

constexpr size_t kMostWorkspace = size_t{256} << 20;
constexpr size_t kMostWays = 32;

Place place_of(const Convolution& c) { return {handle(c.p.device), nullptr}; }

// The first of them that `wanted` and that has a plan.
template <class Wanted>
std::optional<Plan> first_plan(const std::vector<Config>& all, const Place& place, Wanted wanted) {
  for (const Config& config : all) try {
      if (!wanted(config)) continue;
      Plan plan(config, place);
      if (plan.workspace_bytes() <= kMostWorkspace) return plan;
      log("dispatch", "cudnn,", config.name, ",wants a workspace of ", plan.workspace_bytes(), " bytes");
    } catch (const Error& e) {
      log("dispatch", "cudnn,", config.name, ",", e.what());
    }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> declines(Device device, DType t) {
  if (device_count(Device::Kind::cuda) == 0) return "no CUDA device on this machine";
  if (!library().why.empty()) return library().why;
  if (t != DType::f32 && t != DType::bf16 && t != DType::f16) return sentence("no ", name_of(t), " on a GPU");
  try {
    handle(device);
  } catch (const Error& e) {
    return e.what();
  }
  return std::nullopt;
}

std::vector<std::string> ways(const Convolution& c) {
  std::vector<std::string> names;
  try {
    for (Config& config : configs(c, place_of(c)))
      if (names.size() < kMostWays) names.push_back(std::move(config.name));
  } catch (const Error& e) {
    log("dispatch", "cudnn,", c.p.describe(), ",", e.what());
  }
  return names;
}

Plan plan_named(const Convolution& c, const std::string& name) {
  const Place place = place_of(c);
  auto found = first_plan(configs(c, place), place, [&](const Config& config) { return config.name == name; });
  if (!found) fail(Fault::internal, "cuDNN: no plan ", name, " for ", c.p.describe());
  return std::move(*found);
}

Plan plan(const Convolution& c, const std::string& name) {
  const Place place = place_of(c);
  const std::vector<Config> all = configs(c, place);
  auto found = first_plan(all, place, [&](const Config& config) { return config.name == name; });
  if (!found) found = first_plan(all, place, [](const Config&) { return true; });
  if (!found) fail(Fault::internal, "cuDNN: no plan for ", c.p.describe());
  return std::move(*found);
}

}  // namespace metvox::cudnn
#endif
