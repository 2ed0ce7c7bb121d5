// SPDX-License-Identifier: Apache-2.0
#include "segmentation/exchange/known_plans.h"

#include <algorithm>

namespace metvox {
namespace {

// A value that may only be one of `known`; an entry that is not there is the first of them.
void require(const Json& object, const std::string& key, const Json& known, const std::string& where) {
  if (!object.contains(key)) return;
  const Json& value = object.at(key);
  if (std::find(known.begin(), known.end(), value) != known.end()) return;
  std::string names;
  for (const Json& k : known) names += (names.empty() ? "" : " or ") + json_text(k, -1);
  fail(Fault::input, where, ": ", key, " is ", json_text(value, -1), "; only ", names, " is known here");
}

// What a configuration inherits from is judged too.
Json resolved(const Json& configurations, const std::string& name, const std::string& where, int depth = 0) {
  const Json own = get<Json>(configurations, name, where);
  if (depth > 16 || !own.is_object() || !own.contains("inherits_from")) return own;
  Json out = resolved(configurations, get<std::string>(own, "inherits_from", where), where, depth + 1);
  if (out.is_object()) out.update(own);
  return out;
}

void require_known_resampling(const Json& c, const std::string& kind, int order, bool labels,
                              const std::string& where) {
  require(c, "resampling_fn_" + kind, {"resample_data_or_seg_to_shape"}, where);
  const std::string key = "resampling_fn_" + kind + "_kwargs";
  if (!c.contains(key)) return;
  const std::string inside = where + ": " + key;
  require(c.at(key), "order", {order}, inside);
  require(c.at(key), "order_z", {0}, inside);
  require(c.at(key), "is_seg", {labels}, inside);
  require(c.at(key), "force_separate_z", {nullptr}, inside);
}

void require_known_layers(const Json& architecture, size_t axes, const std::string& where) {
  const Json kwargs = get<Json>(architecture, "arch_kwargs", where);
  const std::string dims = std::to_string(axes) + "d";
  const Json conv = {"torch.nn.modules.conv.Conv" + dims, "torch.nn.Conv" + dims},
             norm = {"torch.nn.modules.instancenorm.InstanceNorm" + dims, "torch.nn.InstanceNorm" + dims},
             leaky = {"torch.nn.LeakyReLU", "torch.nn.modules.activation.LeakyReLU"};
  require(kwargs, "conv_op", conv, where);
  require(kwargs, "conv_bias", {true}, where);
  require(kwargs, "norm_op", norm, where);
  require(kwargs, "dropout_op", {nullptr}, where);
  require(kwargs, "nonlin", leaky, where);
  require(kwargs, "nonlin_first", {false}, where);
  for (const char* key : {"stem_channels", "squeeze_excitation", "squeeze_excitation_reduction_ratio"})
    require(kwargs, key, {nullptr, false}, where);
  require(kwargs, "bottleneck_channels", {nullptr}, where);
  require(kwargs, "stochastic_depth_p", {0.0}, where);
  if (kwargs.contains("norm_op_kwargs") && kwargs.at("norm_op_kwargs").is_object()) {
    require(kwargs.at("norm_op_kwargs"), "eps", {1e-5}, where);
    require(kwargs.at("norm_op_kwargs"), "affine", {true}, where);
  }
  if (kwargs.contains("nonlin_kwargs") && kwargs.at("nonlin_kwargs").is_object())
    require(kwargs.at("nonlin_kwargs"), "negative_slope", {0.01}, where);
}

}  // namespace

void require_known_plans(const Json& plans, const std::string& configuration, const Path& file) {
  const std::string where = file.string();
  for (const auto& [key, value] : plans.items())
    if (key.find("version") != std::string::npos)
      fail(Fault::input, where, ": ", key, " is ", json_text(value, -1),
           "; plans of nnU-Net 2.0 to 2.8 have no such entry, so these are of a version that is not known here");
  require(plans, "label_manager", {"LabelManager"}, where);
  require(plans, "image_reader_writer",
          {"SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient"}, where);
  if (plans.contains("image_reader_writer") &&
      plans.at("image_reader_writer").get<std::string>().ends_with("WithReorient"))
    fail(Fault::input, where, ": image_reader_writer is ", plans.at("image_reader_writer").get<std::string>(),
         "; this program leaves images as they lie in their files");
  const Json c = resolved(get<Json>(plans, "configurations", file), configuration, where);
  const std::string inside = where + ": configuration " + configuration;
  if (!c.is_object()) fail(Fault::input, inside, " is not an object");
  if (!c.contains("architecture") && !c.contains("UNet_class_name"))
    fail(Fault::input, inside,
         ": has neither \"architecture\" (nnU-Net 2.4 and later) nor \"UNet_class_name\" (2.0 to 2.3), so these plans "
         "are of a version that is not known here");
  require(c, "preprocessor_name", {"DefaultPreprocessor"}, inside);
  require_known_resampling(c, "data", 3, false, inside);
  require_known_resampling(c, "probabilities", 1, false, inside);
  if (c.contains("architecture"))
    require_known_layers(c.at("architecture"), get<Json>(c, "patch_size", inside).size(), inside);
}

}  // namespace metvox
