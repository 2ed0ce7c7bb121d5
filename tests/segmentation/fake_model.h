// SPDX-License-Identifier: Apache-2.0
// A small model folder with weights from a seed, for tests that need a model but not what it knows.
#pragma once
#include <gtest/gtest.h>

#include "segmentation/networks/model.h"
#include "tensor/random.h"
#include "tests/support/fresh_folder.h"

namespace metvox {

inline Path fresh_dir(const std::string& name) { return fresh_folder(name); }

// A progress function that tells nobody.
inline constexpr auto silent = [](auto&&...) {};

// Standard normal numbers.
inline Tensor random_data(const Shape& shape, uint64_t seed) {
  Tensor t = Tensor::empty(shape, DType::f32);
  Random random(seed, 9);
  for (int64_t i = 0; i < t.size(); ++i) t.data<float>()[i] = static_cast<float>(random.normal());
  return t;
}

inline Configuration fake_configuration(const Int3& patch) {
  Configuration c;
  c.name = "3d_fullres";
  c.data_identifier = "nnUNetPlans_3d_fullres";
  c.patch_size = {patch[0], patch[1], patch[2]};
  c.spacing_mm = {1, 1, 1};
  c.median_image_size = {16, 16, 16};
  c.normalization_schemes.assign(4, "ZScoreNormalization");
  c.use_mask_for_norm.assign(4, false);
  c.architecture.network_class_name = "dynamic_network_architectures.architectures.unet.PlainConvUNet";
  c.architecture.features_per_stage = {4, 6};
  c.architecture.kernel_sizes = {{3, 3, 3}, {3, 3, 3}};
  c.architecture.strides = {{1, 1, 1}, {2, 2, 2}};
  c.architecture.n_conv_per_stage = {1, 1};
  c.architecture.n_conv_per_stage_decoder = {1};
  return c;
}

// Four sequences, and instead of regions so many labels.
inline DatasetDescription fake_classes(int count) {
  Json json = brats_description("Dataset001_Fake").json;
  json.erase("regions_class_order");
  json["labels"] = {{"background", 0}};
  for (int k = 1; k <= count; ++k) json["labels"]["class" + std::to_string(k)] = k;
  return description_from_json(json, "fake_classes");
}

// Four sequences, regions WT TC ET unless said; fold k has the weights of seed k. Returns the model folder in
// `results`.
inline Path write_fake_model(const Path& results, const Int3& patch, int folds,
                             const DatasetDescription& dataset = brats_description("Dataset001_Fake"),
                             const std::string& name = "nnunet") {
  const Path dir = results / model_folder_name(name, "dice-bce", "3d_fullres");
  Plans plans;
  plans.dataset_name = "Dataset001_Fake";
  plans.original_median_spacing_mm = {1, 1, 1};
  plans.original_median_shape = {16, 16, 16};
  plans.configurations = {fake_configuration(patch)};
  if (name == "segresnet") plans.configurations[0].architecture.features_per_stage[0] = 8;
  plans.intensities.resize(4);
  std::filesystem::create_directories(dir);
  write_json(dir / "plans.json", to_json(plans));
  write_json(dir / "dataset.json", dataset.json);
  for (int fold = 0; fold < folds; ++fold) {
    ParameterStore store;
    const auto network =
        find_network(name).make(store, plans.configurations[0], 4, static_cast<int>(dataset.labels.heads().size()));
    store.initialize(static_cast<uint64_t>(fold));
    std::vector<NamedView> tensors;
    for (const Parameter& p : store.parameters()) tensors.push_back({p.name, store.value(p)});
    const Json facts{
        {"network", name}, {"loss", "dice-bce"}, {"configuration", "3d_fullres"}, {"fold", std::to_string(fold)}};
    std::filesystem::create_directories(dir / ("fold_" + std::to_string(fold)));
    write_safetensors(dir / ("fold_" + std::to_string(fold)) / "checkpoint_final.safetensors", tensors,
                      {{"metvox", facts.dump()}});
  }
  return dir;
}

}  // namespace metvox
