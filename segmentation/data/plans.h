// SPDX-License-Identifier: Apache-2.0
// plans.json: spacing, patch, stages: what preprocessing, network, training and prediction obey. Field names are
// nnU-Net's; axes are (z, y, x) after transpose_forward.
#pragma once
#include <optional>

#include "segmentation/data/dataset.h"

namespace metvox {

struct IntensityProperties {
  double mean = 0, median = 0, std = 1, min = 0, max = 0, percentile_00_5 = 0, percentile_99_5 = 0;
};

// "0", "1", ... to an object a channel, as in a fingerprint and in plans.
Json intensities_json(const std::vector<IntensityProperties>& channels);
std::vector<IntensityProperties> intensities_from_json(const Json& json, const Path& where);

struct Fingerprint {
  std::vector<Double3> spacings_mm;  // (z, y, x) a case
  std::vector<Int3> shapes_after_crop;
  std::vector<IntensityProperties> intensities;  // a channel
  double median_relative_size_after_cropping = 1;
};
// Cases that cannot be used are left out and named in `faulty`; without it, or where no case is left, they are refused,
// all of them named.
Fingerprint make_fingerprint(const RawDataset& dataset, uint64_t seed, std::vector<std::string>* faulty = nullptr);
Json to_json(const Fingerprint& fingerprint);
Fingerprint fingerprint_from_json(const Json& json, const Path& where);

// What a network is, in the plan's words.
struct Architecture {
  std::string network_class_name;  // PlainConvUNet or ResidualEncoderUNet, with nnU-Net's module path
  std::vector<int> features_per_stage;
  std::vector<Int3> kernel_sizes, strides;                      // 2-D plans: first entry 1
  std::vector<int> n_conv_per_stage, n_conv_per_stage_decoder;  // blocks for residual encoders
  bool residual() const;                                        // ResidualEncoderUNet
  int n_stages() const { return static_cast<int>(features_per_stage.size()); }
};

struct Configuration {
  std::string name;  // 2d, 3d_fullres, 3d_lowres, 3d_cascade_fullres
  std::string data_identifier;
  int batch_size = 2;
  std::vector<int64_t> patch_size;  // 3 entries, 2 for 2d
  std::vector<double> spacing_mm, median_image_size;
  std::vector<std::string> normalization_schemes;  // ZScoreNormalization, CTNormalization, NoNormalization, ...
  std::vector<bool> use_mask_for_norm;
  bool batch_dice = false;
  Architecture architecture;
  std::string previous_stage;  // cascade only
  Int3 patch() const;          // with a leading 1 for 2d
};

struct Plans {
  std::string dataset_name, plans_name = "nnUNetPlans", planner = "ExperimentPlanner";
  std::vector<double> original_median_spacing_mm;
  std::vector<int64_t> original_median_shape;
  std::array<int, 3> transpose_forward{0, 1, 2}, transpose_backward{0, 1, 2};
  std::vector<Configuration> configurations;
  std::vector<IntensityProperties> intensities;
  Json source;  // the file as read, so that unknown fields survive; null when made here
  const Configuration& configuration(const std::string& name, const Path& where) const;
};
// Reads plans of nnU-Net 2.1 and later (old UNet_* fields are converted) and ours.
Plans read_plans(const Path& path);
Plans plans_from_json(const Json& json, const Path& where);
Json to_json(const Plans& plans);

// The planner (sources: planner.cpp). A residual preset has its own memory, references and plans name.
struct PlannerOptions {
  double gpu_memory_gb = 0;        // 0: the preset's own
  std::string preset = "default";  // default, resenc-m, resenc-l, resenc-xl
  int base_features = 32;          // doubled a stage, up to 320 (3-D) or 512 (2-D)
  // Overrides the 3-D full resolution patch; strides follow from it, and it is padded to what they divide.
  std::optional<Int3> patch_size;
  int batch_size = 0;  // 0: planned
};
Plans make_plans(const Fingerprint& fingerprint, const DatasetDescription& dataset, const PlannerOptions& options);
// nnU-Net's move-plans: `source` plans for another data set (`--like`).
Plans move_plans(const Plans& source, const DatasetDescription& target);

// Pieces of the planner with test vectors of their own.
struct Topology {
  std::vector<Int3> strides, kernels;
  Int3 patch;  // padded to what the strides divide
  Int3 divisor;
};
// 2 or 3 entries each; a 2-D topology has a leading 1. A median shape, and so a patch, may end in a half.
Topology make_topology(const std::vector<double>& spacing_mm, const std::vector<double>& patch);
// Elements of all feature maps of either network (the planner's unit of memory).
double feature_map_elements(const std::vector<int64_t>& patch, const Architecture& architecture, int outputs);

}  // namespace metvox
