// SPDX-License-Identifier: Apache-2.0
// Descriptions and plans for weights that came without (import_model.h).
#include <algorithm>
#include <charconv>

#include "segmentation/exchange/import_model.h"

namespace metvox {
namespace {

// "WT=1,2,3" as a name and values.
LabelTarget label_from(const std::string& text) {
  LabelTarget out;
  const size_t equals = text.find('=');
  out.name = text.substr(0, equals);
  for (size_t at = equals; at < text.size();) {
    int value = 0;
    const char *first = text.data() + at + 1, *last = text.data() + text.size();
    const auto [end, error] = std::from_chars(first, last, value);
    if (error != std::errc() || value < 1 || (end != last && *end != ',')) out.name.clear();
    if (out.name.empty()) break;
    out.labels.push_back(value);
    at = static_cast<size_t>(end - text.data());
  }
  if (out.name.empty() || out.labels.empty())
    fail(Fault::usage, "--labels ", text, " is not of the form NAME=VALUE or NAME=VALUE,VALUE with values from 1");
  return out;
}

bool holds(const LabelTarget& t, int value) {
  return std::find(t.labels.begin(), t.labels.end(), value) != t.labels.end();
}

}  // namespace

DatasetDescription description_for_weights(const std::string& name, const std::vector<std::string>& channels,
                                           const std::vector<std::string>& labels) {
  Json json;
  for (size_t c = 0; c < channels.size(); ++c) json["channel_names"][std::to_string(c)] = channels[c];
  json["labels"] = {{"background", 0}};
  std::vector<LabelTarget> targets;
  for (const std::string& text : labels) targets.push_back(label_from(text));
  Json order = Json::array();
  for (size_t i = 0; i < targets.size(); ++i) {
    const LabelTarget& t = targets[i];
    json["labels"][t.name] = t.labels.size() == 1 ? Json(t.labels[0]) : Json(t.labels);
    const auto own = std::find_if(t.labels.begin(), t.labels.end(), [&](int value) {
      return std::none_of(targets.begin() + static_cast<long>(i) + 1, targets.end(),
                          [&](const LabelTarget& later) { return holds(later, value); });
    });
    order.push_back(own == t.labels.end() ? t.labels.back() : *own);
  }
  if (std::any_of(targets.begin(), targets.end(), [](const LabelTarget& t) { return t.labels.size() > 1; }))
    json["regions_class_order"] = order;
  json["numTraining"] = 0;
  json["file_ending"] = ".nii.gz";
  DatasetDescription out = description_from_json(json, "--channels and --labels");
  out.name = name;
  return out;
}

Plans plans_for_weights(const DatasetDescription& dataset, const Double3& spacing_mm, const Int3& patch, bool mask) {
  const size_t channels = dataset.channel_names.size();
  Configuration c;
  c.name = "3d_fullres";
  c.data_identifier = "nnUNetPlans_3d_fullres";
  c.patch_size.assign(patch.begin(), patch.end());
  c.spacing_mm.assign(spacing_mm.begin(), spacing_mm.end());
  c.median_image_size.assign(patch.begin(), patch.end());
  c.normalization_schemes.assign(channels, "ZScoreNormalization");
  c.use_mask_for_norm.assign(channels, mask);
  c.batch_dice = true;
  Architecture& a = c.architecture;  // of it SegResNet takes the features to begin with
  a.network_class_name = "dynamic_network_architectures.architectures.unet.PlainConvUNet";
  a.features_per_stage = {32, 64, 128, 256};
  a.kernel_sizes.assign(4, {3, 3, 3});
  a.strides = {{1, 1, 1}, {2, 2, 2}, {2, 2, 2}, {2, 2, 2}};
  a.n_conv_per_stage.assign(4, 2);
  a.n_conv_per_stage_decoder.assign(3, 2);
  Plans plans;
  plans.dataset_name = dataset.name;
  plans.original_median_spacing_mm = c.spacing_mm;
  plans.original_median_shape = c.patch_size;
  plans.configurations = {c};
  plans.intensities.resize(channels);
  return plans_from_json(to_json(plans), "--spacing and --patch-size");  // judged as a file's would be
}

}  // namespace metvox
