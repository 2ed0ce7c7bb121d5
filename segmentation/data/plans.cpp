// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/plans.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "segmentation/data/normalize.h"

namespace metvox {
namespace {

constexpr const char* kArchitectures = "dynamic_network_architectures.architectures.unet.";

std::string last_name(const std::string& dotted) { return dotted.substr(dotted.find_last_of('.') + 1); }

// Entries of a list of triples (pairs in 2-D plans), which may also be one number or one triple for all.
std::vector<Int3> triples(const Json& value, size_t n, size_t axes, const std::string& what, const Path& where) {
  const auto one = [&](const Json& v) {
    Int3 out{1, 1, 1};
    for (size_t i = 0; i < axes; ++i) {
      const Json& e = v.is_array() && v.size() == axes ? v[i] : v;
      if (!e.is_number_integer() || e < 1 || e > 64)
        fail(Fault::input, where.string(), ": ", what, " holds ", v.dump());
      out[3 - axes + i] = e.get<int64_t>();
    }
    return out;
  };
  if (!value.is_array()) return std::vector<Int3>(n, one(value));
  if (value.size() != n)
    fail(Fault::input, where.string(), ": ", what, " has ", value.size(), " entries for ", n, " stages");
  std::vector<Int3> out;
  for (const Json& v : value) out.push_back(one(v));
  return out;
}

std::vector<int> counts(const Json& kwargs, const std::string& key, size_t n, const Path& where) {
  const Json value = get<Json>(kwargs, key, where);
  const auto out =
      value.is_number() ? std::vector<int>(n, get<int>(kwargs, key, where)) : get<std::vector<int>>(kwargs, key, where);
  if (out.size() != n || std::any_of(out.begin(), out.end(), [](int v) { return v < 1 || v > 1 << 16; }))
    fail(Fault::input, where.string(), ": ", key, " is ", value.dump(), "; expected ", n, " positive numbers");
  return out;
}

Architecture architecture_from_json(const Json& json, size_t axes, const Path& where) {
  Architecture a;
  a.network_class_name = get<std::string>(json, "network_class_name", where);
  const std::string name = last_name(a.network_class_name);
  if (name != "PlainConvUNet" && name != "ResidualEncoderUNet")
    fail(Fault::input, where.string(), ": the network is ", name, "; PlainConvUNet and ResidualEncoderUNet are known");
  const Json kwargs = get<Json>(json, "arch_kwargs", where);
  const int stages = get<int>(kwargs, "n_stages", where);
  if (stages < 2 || stages > 32) fail(Fault::input, where.string(), ": n_stages is ", stages);
  const size_t n = static_cast<size_t>(stages);
  a.features_per_stage = counts(kwargs, "features_per_stage", n, where);
  a.kernel_sizes = triples(get<Json>(kwargs, "kernel_sizes", where), n, axes, "kernel_sizes", where);
  a.strides = triples(get<Json>(kwargs, "strides", where), n, axes, "strides", where);
  a.n_conv_per_stage = counts(kwargs, a.residual() ? "n_blocks_per_stage" : "n_conv_per_stage", n, where);
  a.n_conv_per_stage_decoder = counts(kwargs, "n_conv_per_stage_decoder", n - 1, where);
  return a;
}

Json without_leading(const std::vector<Int3>& list, size_t axes) {
  Json out = Json::array();
  for (const Int3& v : list) out.push_back(Json(std::vector<int64_t>(v.end() - static_cast<long>(axes), v.end())));
  return out;
}

Json architecture_json(const Architecture& a, size_t axes) {
  const std::string dims = std::to_string(axes) + "d";
  Json kwargs;
  kwargs["n_stages"] = a.n_stages();
  kwargs["features_per_stage"] = a.features_per_stage;
  kwargs["conv_op"] = "torch.nn.modules.conv.Conv" + dims;
  kwargs["kernel_sizes"] = without_leading(a.kernel_sizes, axes);
  kwargs["strides"] = without_leading(a.strides, axes);
  kwargs[a.residual() ? "n_blocks_per_stage" : "n_conv_per_stage"] = a.n_conv_per_stage;
  kwargs["n_conv_per_stage_decoder"] = a.n_conv_per_stage_decoder;
  kwargs["conv_bias"] = true;
  kwargs["norm_op"] = "torch.nn.modules.instancenorm.InstanceNorm" + dims;
  kwargs["norm_op_kwargs"] = {{"eps", 1e-5}, {"affine", true}};
  kwargs["dropout_op"] = nullptr;
  kwargs["dropout_op_kwargs"] = nullptr;
  kwargs["nonlin"] = "torch.nn.LeakyReLU";
  kwargs["nonlin_kwargs"] = {{"inplace", true}};
  Json out;
  out["network_class_name"] = a.network_class_name;
  out["arch_kwargs"] = std::move(kwargs);
  out["_kw_requires_import"] = {"conv_op", "norm_op", "dropout_op", "nonlin"};
  return out;
}

// A configuration with what it inherits.
Json resolved(const Json& configurations, const std::string& name, const Path& where, int depth = 0) {
  const Json own = get<Json>(configurations, name, where);
  if (!own.is_object()) fail(Fault::input, where.string(), ": configuration ", name, " is not an object");
  if (!own.contains("inherits_from")) return own;
  if (depth > 16) fail(Fault::input, where.string(), ": configuration ", name, " inherits in a circle");
  Json out = resolved(configurations, get<std::string>(own, "inherits_from", where), where, depth + 1);
  out.update(own);
  return out;
}

// Plans of nnU-Net up to 2.3 name the network's numbers one by one. `whole` is the configuration with what it inherits:
// its own may be some of the numbers only (utilities/plans_handling/plans_handler.py, ConfigurationManager).
void upgrade(Json& c, const Json& whole, const Path& where) {
  constexpr const char* kOld[] = {"UNet_class_name",          "UNet_base_num_features", "n_conv_per_stage_encoder",
                                  "n_conv_per_stage_decoder", "num_pool_per_axis",      "pool_op_kernel_sizes",
                                  "conv_kernel_sizes",        "unet_max_num_features"};
  if (!c.is_object() || whole.contains("architecture") || !whole.contains("UNet_class_name") ||
      std::none_of(std::begin(kOld), std::end(kOld), [&](const char* key) { return c.contains(key); }))
    return;
  const std::string name = get<std::string>(whole, "UNet_class_name", where);
  const size_t axes = get<Json>(whole, "patch_size", where).size();
  const int base = get<int>(whole, "UNet_base_num_features", where),
            most = get<int>(whole, "unet_max_num_features", where);
  const Json encoder = get<Json>(whole, "n_conv_per_stage_encoder", where);
  Architecture a;
  a.network_class_name = kArchitectures + name;
  for (size_t s = 0; s < encoder.size(); ++s)
    a.features_per_stage.push_back(static_cast<int>(std::min<double>(most, std::ldexp(base, static_cast<int>(s)))));
  Json made = architecture_json(a, axes);
  Json& kwargs = made["arch_kwargs"];
  kwargs["kernel_sizes"] = get<Json>(whole, "conv_kernel_sizes", where);
  kwargs["strides"] = get<Json>(whole, "pool_op_kernel_sizes", where);
  kwargs[a.residual() ? "n_blocks_per_stage" : "n_conv_per_stage"] = encoder;
  kwargs["n_conv_per_stage_decoder"] = get<Json>(whole, "n_conv_per_stage_decoder", where);
  c["architecture"] = std::move(made);
  for (const char* old : kOld) c.erase(old);
}

// What the network needs of its patch: windows that end where they began, and a size that arithmetic holds.
void check_patch(const Configuration& c, const Path& where) {
  const Int3 patch = c.patch();
  constexpr int64_t kMost = 1LL << 31;
  if (patch[0] * patch[1] > kMost || patch[0] * patch[1] * patch[2] > kMost)
    fail(Fault::input, where.string(), ": patch_size has more than 2^31 voxels");
  if (c.architecture.strides.front() != Int3{1, 1, 1})
    fail(Fault::input, where.string(),
         ": strides begin with another than 1, so the answer would be smaller than the patch");
  Int3 whole{1, 1, 1};
  for (const Int3& stride : c.architecture.strides)
    for (size_t a = 0; a < 3; ++a) whole[a] = std::min<int64_t>(whole[a] * stride[a], 1 << 17);
  for (size_t a = 0; a < 3; ++a)
    if (patch[a] % whole[a] != 0)
      fail(Fault::input, where.string(), ": patch_size holds ", patch[a], ", which the product of the strides, ",
           whole[a], ", does not divide");
}

void check_normalization(const Configuration& c, const Path& where) {
  if (c.use_mask_for_norm.size() != c.normalization_schemes.size())
    fail(Fault::input, where.string(), ": ", c.normalization_schemes.size(), " normalization_schemes but ",
         c.use_mask_for_norm.size(), " use_mask_for_norm");
  const auto& known = normalization_schemes();
  for (const std::string& scheme : c.normalization_schemes) {
    if (std::find(known.begin(), known.end(), scheme) != known.end()) continue;
    std::string names;
    for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
    fail(Fault::input, where.string(), ": normalization_schemes holds ", scheme, "; there are ", names);
  }
}

Configuration configuration_from_json(const std::string& name, const Json& json, const Path& plans) {
  const Path where = plans.string() + ": configuration " + name;
  Configuration c;
  c.name = name;
  c.data_identifier = get<std::string>(json, "data_identifier", where);
  c.batch_size = get<int>(json, "batch_size", where);
  c.patch_size = get<std::vector<int64_t>>(json, "patch_size", where);
  c.spacing_mm = get<std::vector<double>>(json, "spacing", where);
  c.median_image_size = get<std::vector<double>>(json, "median_image_size_in_voxels", where);
  c.normalization_schemes = get<std::vector<std::string>>(json, "normalization_schemes", where);
  c.use_mask_for_norm = get<std::vector<bool>>(json, "use_mask_for_norm", where);
  const size_t axes = c.patch_size.size();
  if ((axes != 2 && axes != 3) || c.spacing_mm.size() != axes)
    fail(Fault::input, where.string(), ": patch_size has ", axes, " and spacing ", c.spacing_mm.size(), " entries");
  for (int64_t e : c.patch_size)
    if (e < 1 || e > 1 << 16) fail(Fault::input, where.string(), ": patch_size holds ", e);
  for (double mm : c.spacing_mm)
    if (!(mm > 0) || !std::isfinite(mm)) fail(Fault::input, where.string(), ": spacing holds ", mm);
  if (c.batch_size < 1) fail(Fault::input, where.string(), ": batch_size is ", c.batch_size);
  check_normalization(c, where);
  c.batch_dice = json.contains("batch_dice") && get<bool>(json, "batch_dice", where);
  if (json.contains("previous_stage")) c.previous_stage = get<std::string>(json, "previous_stage", where);
  c.architecture = architecture_from_json(get<Json>(json, "architecture", where), axes, where);
  check_patch(c, where);
  return c;
}

Json resampling(bool labels, int order) {
  return {{"is_seg", labels}, {"order", order}, {"order_z", 0}, {"force_separate_z", nullptr}};
}

Json configuration_json(const Configuration& c) {
  constexpr const char* kFunction = "resample_data_or_seg_to_shape";
  Json out;
  out["data_identifier"] = c.data_identifier;
  out["preprocessor_name"] = "DefaultPreprocessor";
  out["batch_size"] = c.batch_size;
  out["patch_size"] = c.patch_size;
  out["median_image_size_in_voxels"] = c.median_image_size;
  out["spacing"] = c.spacing_mm;
  out["normalization_schemes"] = c.normalization_schemes;
  out["use_mask_for_norm"] = c.use_mask_for_norm;
  out["resampling_fn_data"] = kFunction;
  out["resampling_fn_seg"] = kFunction;
  out["resampling_fn_data_kwargs"] = resampling(false, 3);
  out["resampling_fn_seg_kwargs"] = resampling(true, 1);
  out["resampling_fn_probabilities"] = kFunction;
  out["resampling_fn_probabilities_kwargs"] = resampling(false, 1);
  out["architecture"] = architecture_json(c.architecture, c.patch_size.size());
  out["batch_dice"] = c.batch_dice;
  return out;
}

// The cascade is written as nnU-Net does: what differs from 3d_fullres.
Json configurations_json(const Plans& plans) {
  Json out = Json::object();
  for (const Configuration& c : plans.configurations) {
    Json json = configuration_json(c);
    if (!c.previous_stage.empty()) {
      if (out.contains("3d_fullres"))
        for (const auto& [key, value] : out["3d_fullres"].items())
          if (json[key] == value) json.erase(key);
      Json own;
      own["inherits_from"] = "3d_fullres";
      own["previous_stage"] = c.previous_stage;
      own.update(json);
      json = std::move(own);
    }
    for (const Configuration& next : plans.configurations)
      if (next.previous_stage == c.name) json["next_stage"] = next.name;
    out[c.name] = std::move(json);
  }
  return out;
}

Json made_json(const Plans& p) {
  Json out;
  out["dataset_name"] = p.dataset_name;
  out["plans_name"] = p.plans_name;
  out["original_median_spacing_after_transp"] = p.original_median_spacing_mm;
  out["original_median_shape_after_transp"] = p.original_median_shape;
  out["image_reader_writer"] = "SimpleITKIO";
  out["transpose_forward"] = p.transpose_forward;
  out["transpose_backward"] = p.transpose_backward;
  out["configurations"] = configurations_json(p);
  out["experiment_planner_used"] = p.planner;
  out["label_manager"] = "LabelManager";
  out["foreground_intensity_properties_per_channel"] = intensities_json(p.intensities);
  return out;
}

// Writes into `out` what differs between `before` and `now`, so that fields nobody here knows stay as they are.
void write_differences(Json& out, const Json& before, const Json& now) {
  for (const auto& [key, value] : now.items()) {
    if (before.contains(key) && before[key] == value) continue;
    if (value.is_object() && before.contains(key) && out.contains(key)) write_differences(out[key], before[key], value);
    else out[key] = value;
  }
}

std::array<int, 3> permutation(const Json& json, const char* key, const Path& where) {
  const auto out = get<std::array<int, 3>>(json, key, where);
  if (std::set<int>(out.begin(), out.end()) != std::set<int>{0, 1, 2})
    fail(Fault::input, where.string(), ": ", key, " is ", Json(out).dump(), ", not an order of 0, 1, 2");
  return out;
}

}  // namespace

bool Architecture::residual() const { return last_name(network_class_name) == "ResidualEncoderUNet"; }

Int3 Configuration::patch() const {
  return patch_size.size() == 2 ? Int3{1, patch_size[0], patch_size[1]}
                                : Int3{patch_size[0], patch_size[1], patch_size[2]};
}

const Configuration& Plans::configuration(const std::string& name, const Path& where) const {
  std::string names;
  for (const Configuration& c : configurations) {
    if (c.name == name) return c;
    names += (names.empty() ? "" : ", ") + c.name;
  }
  fail(Fault::input, where.string(), ": there is no configuration ", name, "; there are ", names);
}

Json intensities_json(const std::vector<IntensityProperties>& channels) {
  Json out = Json::object();
  for (size_t c = 0; c < channels.size(); ++c) {
    const IntensityProperties& p = channels[c];
    out[std::to_string(c)] = {{"max", p.max},
                              {"mean", p.mean},
                              {"median", p.median},
                              {"min", p.min},
                              {"percentile_00_5", p.percentile_00_5},
                              {"percentile_99_5", p.percentile_99_5},
                              {"std", p.std}};
  }
  return out;
}

std::vector<IntensityProperties> intensities_from_json(const Json& json, const Path& where) {
  std::vector<IntensityProperties> out;
  for (size_t c = 0; c < json.size(); ++c) {
    const Json one = get<Json>(json, std::to_string(c), where);
    const auto number = [&](const char* key) {  // NaN is written as null
      const Json v = get<Json>(one, key, where);
      return v.is_null() ? std::nan("") : get<double>(one, key, where);
    };
    out.push_back({.mean = number("mean"),
                   .median = number("median"),
                   .std = number("std"),
                   .min = number("min"),
                   .max = number("max"),
                   .percentile_00_5 = number("percentile_00_5"),
                   .percentile_99_5 = number("percentile_99_5")});
  }
  return out;
}

Plans read_plans(const Path& path) { return plans_from_json(read_json(path), path); }

Plans plans_from_json(const Json& json, const Path& where) {
  Plans p;
  p.source = json;
  p.dataset_name = get<std::string>(json, "dataset_name", where);
  p.plans_name = get<std::string>(json, "plans_name", where);
  if (json.contains("experiment_planner_used")) p.planner = get<std::string>(json, "experiment_planner_used", where);
  p.original_median_spacing_mm = get<std::vector<double>>(json, "original_median_spacing_after_transp", where);
  p.original_median_shape = get<std::vector<int64_t>>(json, "original_median_shape_after_transp", where);
  p.transpose_forward = permutation(json, "transpose_forward", where);
  p.transpose_backward = permutation(json, "transpose_backward", where);
  for (size_t i = 0; i < 3; ++i)
    if (p.transpose_backward[static_cast<size_t>(p.transpose_forward[i])] != static_cast<int>(i))
      fail(Fault::input, where.string(), ": transpose_backward does not undo transpose_forward");
  const char* const current = "foreground_intensity_properties_per_channel";
  const char* const old = "foreground_intensity_properties_by_modality";
  p.intensities = intensities_from_json(
      get<Json>(json, !json.contains(current) && json.contains(old) ? old : current, where), where);
  Json& configurations = p.source["configurations"];
  if (!configurations.is_object()) fail(Fault::input, where.string(), ": \"configurations\" is missing or no object");
  const Json as_read = configurations;
  for (const auto& [name, c] : configurations.items())
    upgrade(c, resolved(as_read, name, where), where.string() + ": configuration " + name);
  for (const auto& [name, c] : configurations.items())
    p.configurations.push_back(configuration_from_json(name, resolved(configurations, name, where), where));
  return p;
}

Json to_json(const Plans& plans) {
  const Json now = made_json(plans);
  if (plans.source.is_null()) return now;
  Json out = plans.source;
  write_differences(out, made_json(plans_from_json(plans.source, "plans")), now);
  return out;
}

Plans move_plans(const Plans& source, const DatasetDescription& target) {
  for (const Configuration& c : source.configurations)
    if (c.normalization_schemes.size() != target.channel_names.size())
      fail(Fault::input, "the plans of ", source.dataset_name, " are for ", c.normalization_schemes.size(),
           " channels, but ", target.name, " has ", target.channel_names.size(), "; plan it on its own");
  Plans out = source;
  out.dataset_name = target.name;
  return out;
}

}  // namespace metvox
