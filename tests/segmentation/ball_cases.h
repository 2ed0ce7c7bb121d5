// SPDX-License-Identifier: Apache-2.0
// Six preprocessed cases of 24^3 voxels, balls in noise, and a request to train a network of four features on them.
#pragma once
#include <gtest/gtest.h>

#include "io/nifti.h"
#include "segmentation/data/preprocess.h"
#include "segmentation/training/trainer.h"
#include "tensor/threads.h"
#include "tests/support/fresh_folder.h"

namespace metvox {

constexpr Int3 kExtent{24, 24, 24};

inline Plans small_plans() {
  Plans plans;
  plans.dataset_name = "Dataset001_Balls";
  plans.original_median_spacing_mm = {1, 1, 1};
  plans.original_median_shape = {24, 24, 24};
  Configuration c;
  c.name = "3d_fullres";
  c.data_identifier = "nnUNetPlans_3d_fullres";
  c.batch_size = 2;
  c.patch_size = {16, 16, 16};
  c.spacing_mm = {1, 1, 1};
  c.median_image_size = {24, 24, 24};
  c.normalization_schemes = {"ZScoreNormalization", "ZScoreNormalization"};
  c.use_mask_for_norm = {false, false};
  c.architecture.network_class_name = "dynamic_network_architectures.architectures.unet.PlainConvUNet";
  c.architecture.features_per_stage = {4, 8};
  c.architecture.kernel_sizes = {{3, 3, 3}, {3, 3, 3}};
  c.architecture.strides = {{1, 1, 1}, {2, 2, 2}};
  c.architecture.n_conv_per_stage = {1, 1};
  c.architecture.n_conv_per_stage_decoder = {1};
  plans.configurations = {c};
  plans.intensities.resize(2);
  return plans;
}

// A bright ball (label 1) with a brighter core (label 2) in noise.
inline void write_case(const Path& dir, int number) {
  const std::string id = sentence("case_", number);
  Random random(7, static_cast<uint64_t>(number));
  const Int3 centre{7 + random.below(10), 7 + random.below(10), 7 + random.below(10)};
  PreprocessedCase c;
  c.properties.id = id;
  c.properties.shape_before_cropping = c.properties.bbox_last = c.properties.shape_after_cropping = kExtent;
  c.properties.spacing_mm = {1, 1, 1};
  c.properties.geometry = make_geometry(kExtent, Affine{});
  c.data = Tensor::empty({2, 24, 24, 24}, DType::f32);
  c.seg = Tensor::zeros({24, 24, 24}, DType::i8);
  std::vector<int32_t> found[2];
  for (int64_t i = 0; i < volume(kExtent); ++i) {
    const Int3 at{i / 576, i / 24 % 24, i % 24};
    double r = 0;
    for (size_t a = 0; a < 3; ++a) r += static_cast<double>((at[a] - centre[a]) * (at[a] - centre[a]));
    const int label = r <= 9 ? 2 : r <= 36 ? 1 : 0;
    c.seg.data<int8_t>()[i] = static_cast<int8_t>(label);
    for (int64_t channel = 0; channel < 2; ++channel)
      c.data.data<float>()[channel * volume(kExtent) + i] =
          static_cast<float>(label * (1.0 + 0.3 * static_cast<double>(channel)) + 0.4 * random.normal());
    for (int target = 0; target < 2; ++target)
      if (label > target)
        for (int64_t v : at) found[target].push_back(static_cast<int32_t>(v));
  }
  for (const auto& voxels : found) {
    c.locations.push_back(Tensor::empty({static_cast<int64_t>(voxels.size()) / 3, 3}, DType::i32));
    std::copy(voxels.begin(), voxels.end(), c.locations.back().data<int32_t>());
  }
  write_preprocessed(dir / "nnUNetPlans_3d_fullres" / (id + ".safetensors"), c);
  Tensor truth = Tensor::empty(c.seg.shape(), DType::u8);
  std::copy_n(c.seg.data<int8_t>(), truth.size(), truth.data<uint8_t>());
  write_nifti(dir / "gt_segmentations" / (id + ".nii.gz"), truth, c.properties.geometry);
}

inline Path preprocessed(const std::string& name, bool regions = true) {
  const Path dir = fresh_folder(name);
  std::filesystem::create_directories(dir / "nnUNetPlans_3d_fullres");
  std::filesystem::create_directories(dir / "gt_segmentations");
  write_json(dir / "plans.json", to_json(small_plans()));
  Json dataset = {{"channel_names", {{"0", "T1C"}, {"1", "T2F"}}}, {"numTraining", 6}, {"file_ending", ".nii.gz"}};
  if (regions) {
    dataset["labels"] = {{"background", 0}, {"ball", {1, 2}}, {"core", 2}};
    dataset["regions_class_order"] = {1, 2};
  } else {
    dataset["labels"] = {{"background", 0}, {"shell", 1}, {"core", 2}};
  }
  write_json(dir / "dataset.json", dataset);
  for (int i = 0; i < 6; ++i) write_case(dir, i);
  return dir;
}

// On one thread: the problems are too small for more.
inline TrainRequest request_for(const Path& data, const std::string& results) {
  set_threads(1);
  TrainRequest r;
  r.preprocessed = data;
  r.results = fresh_folder(results);
  r.epochs = 3;
  r.iterations = 6;
  r.val_iterations = 3;
  r.seed = 17;
  return r;
}

}  // namespace metvox
