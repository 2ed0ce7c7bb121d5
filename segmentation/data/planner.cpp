// SPDX-License-Identifier: Apache-2.0
// The experiment planner of nnU-Net 2.8.1, with its constants: experiment_planning/experiment_planners,
// default_experiment_planner.py, network_topology.py and residual_unets/residual_encoder_unet_planners.py.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "segmentation/data/case_files.h"
#include "segmentation/data/plans.h"
#include "segmentation/data/resample.h"

namespace metvox {
namespace {

using Doubles = std::vector<double>;

constexpr double kAnisotropy = 3, kMinEdge = 4;
constexpr double kLowresShare = 0.25, kLowresStep = 1.03, kLowresGain = 2;
constexpr int kMinBatch = 2, kMaxFeatures3d = 320, kMaxFeatures2d = 512;
constexpr double kMaskThreshold = 0.75;

struct Preset {
  const char *name, *planner, *plans_name;
  bool residual;
  double gpu_memory_gb, elements_3d, elements_2d, share_of_dataset;
};
constexpr Preset kPresets[] = {
    {"default", "ExperimentPlanner", "nnUNetPlans", false, 8, 560e6, 85e6, 0.05},
    {"resenc-m", "nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans", true, 8, 680e6, 135e6, 1},
    {"resenc-l", "nnUNetPlannerResEncL", "nnUNetResEncUNetLPlans", true, 24, 2.1e9, 380e6, 1},
    {"resenc-xl", "nnUNetPlannerResEncXL", "nnUNetResEncUNetXLPlans", true, 40, 3.6e9, 560e6, 1},
};

const Preset& preset_named(const std::string& name) {
  for (const Preset& p : kPresets)
    if (name == p.name) return p;
  fail(Fault::usage, "there is no preset \"", name, "\"; it may be default, resenc-m, resenc-l or resenc-xl");
}

double product(const Doubles& v) { return std::accumulate(v.begin(), v.end(), 1.0, std::multiplies<>()); }

// Linear interpolation between order statistics, as NumPy's percentile.
double percentile(Doubles v, double percent) {
  std::sort(v.begin(), v.end());
  const double at = percent / 100 * static_cast<double>(v.size() - 1);
  const size_t low = static_cast<size_t>(at), high = std::min(low + 1, v.size() - 1);
  return v[low] + (v[high] - v[low]) * (at - static_cast<double>(low));
}

template <class Triples>
Doubles column(const Triples& rows, size_t axis) {
  Doubles out;
  for (const auto& r : rows) out.push_back(static_cast<double>(r[axis]));
  return out;
}

template <class Triples>
Doubles medians(const Triples& rows) {
  return {percentile(column(rows, 0), 50), percentile(column(rows, 1), 50), percentile(column(rows, 2), 50)};
}

size_t largest(const Doubles& v) { return static_cast<size_t>(std::max_element(v.begin(), v.end()) - v.begin()); }

Doubles target_spacing(const Fingerprint& f) {
  Doubles target = medians(f.spacings_mm);
  const Doubles size = medians(f.shapes_after_crop);
  const size_t worst = largest(target), a = (worst + 1) % 3, b = (worst + 2) % 3;
  const double coarsest_other = std::max(target[a], target[b]);
  if (target[worst] > kAnisotropy * coarsest_other && size[worst] * kAnisotropy < std::min(size[a], size[b])) {
    const double tenth = percentile(column(f.spacings_mm, worst), 10);
    target[worst] = tenth < coarsest_other ? coarsest_other + 1e-5 : tenth;
  }
  return target;
}

Doubles permuted(const Doubles& v, const std::array<int, 3>& order) {
  return {v[static_cast<size_t>(order[0])], v[static_cast<size_t>(order[1])], v[static_cast<size_t>(order[2])]};
}

std::string scheme_for(const std::string& channel_name) {
  const std::string channel = lower(channel_name);
  if (channel == "ct") return "CTNormalization";
  if (channel == "nonorm") return "NoNormalization";
  if (channel == "rescale_to_0_1") return "RescaleTo01Normalization";
  if (channel == "rgb_to_0_1") return "RGBTo01Normalization";
  return "ZScoreNormalization";
}

// Plans one configuration; spacing and median shape have two or three entries.
class Planner {
 public:
  Planner(const DatasetDescription& dataset, const PlannerOptions& options, double relative_size)
      : preset_(preset_named(options.preset)), options_(options), outputs_(dataset.labels.num_entries()) {
    gpu_memory_gb_ = options.gpu_memory_gb > 0 ? options.gpu_memory_gb : preset_.gpu_memory_gb;
    for (const std::string& name : dataset.channel_names) {
      schemes_.push_back(scheme_for(name));
      use_mask_.push_back(relative_size < kMaskThreshold && schemes_.back() == "ZScoreNormalization");
    }
  }

  const Preset& preset() const { return preset_; }

  Configuration plan(const std::string& name, const Doubles& spacing, const Doubles& median, double dataset_voxels,
                     const std::optional<Int3>& patch_size = {}) const {
    Configuration c;
    c.name = name;
    const bool shared = name == "2d" || name == "3d_fullres";  // preprocessed alike under every preset
    c.data_identifier = (shared ? "nnUNetPlans" : std::string(preset_.plans_name)) + "_" + name;
    c.spacing_mm = spacing;
    c.median_image_size = median;
    c.normalization_schemes = schemes_;
    c.use_mask_for_norm = use_mask_;
    const bool flat = spacing.size() == 2;
    const double reference =
        (flat ? preset_.elements_2d : preset_.elements_3d) * gpu_memory_gb_ / preset_.gpu_memory_gb;
    const double reference_batch = flat ? 12 : 2;
    if (patch_size) fit(c, Doubles(patch_size->begin(), patch_size->end()));
    else shrink(c, reference, reference_batch);
    if (options_.batch_size > 0) {
      c.batch_size = options_.batch_size;
      return c;
    }
    const double patch = product(Doubles(c.patch_size.begin(), c.patch_size.end()));
    const double batch = std::min(std::nearbyint(reference / elements(c) * reference_batch),
                                  std::nearbyint(dataset_voxels * preset_.share_of_dataset / patch));
    c.batch_size = std::max(static_cast<int>(batch), kMinBatch);
    return c;
  }

 private:
  double elements(const Configuration& c) const { return feature_map_elements(c.patch_size, c.architecture, outputs_); }

  // Patch (padded) and architecture from a wished patch; returns the divisor of each axis.
  Int3 fit(Configuration& c, const Doubles& wished) const {
    const Topology t = make_topology(c.spacing_mm, wished);
    if (t.strides.size() < 2)
      fail(Fault::input, "configuration ", c.name, ": a patch of ", t.patch[0], "x", t.patch[1], "x", t.patch[2],
           " voxels is too small for a U-Net; it needs an axis of 12, or two of 8");
    const size_t flat = 3 - wished.size();
    c.patch_size.assign(t.patch.begin() + static_cast<long>(flat), t.patch.end());
    Architecture& a = c.architecture;
    a.network_class_name = std::string("dynamic_network_architectures.architectures.unet.") +
                           (preset_.residual ? "ResidualEncoderUNet" : "PlainConvUNet");
    a.kernel_sizes = t.kernels;
    a.strides = t.strides;
    const size_t stages = t.strides.size();
    a.features_per_stage.clear();
    a.n_conv_per_stage.clear();
    constexpr int kBlocks[] = {1, 3, 4, 6};
    for (size_t s = 0; s < stages; ++s) {
      const int most = std::max(flat ? kMaxFeatures2d : kMaxFeatures3d, options_.base_features);
      a.features_per_stage.push_back(s < 16 ? std::min(most, options_.base_features << s) : most);
      a.n_conv_per_stage.push_back(preset_.residual ? kBlocks[std::min<size_t>(s, 3)] : 2);
    }
    a.n_conv_per_stage_decoder.assign(stages - 1, preset_.residual ? 1 : 2);
    return t.divisor;
  }

  void shrink(Configuration& c, double reference, double reference_batch) const {
    const size_t axes = c.spacing_mm.size(), flat = 3 - axes;
    Doubles aspect, patch;
    for (double s : c.spacing_mm) aspect.push_back(1 / s);
    const double volume = flat ? 2048.0 * 2048 : 256.0 * 256 * 256;
    const double scale = std::pow(volume / product(aspect), 1.0 / static_cast<double>(axes));
    for (size_t i = 0; i < axes; ++i)
      patch.push_back(std::min(std::nearbyint(aspect[i] * scale), c.median_image_size[i]));
    Int3 divisor = fit(c, patch);
    const double batch_share = preset_.residual ? 1 : 2 / reference_batch;  // residual planners leave this out
    while (elements(c) * batch_share > reference) {
      patch.assign(c.patch_size.begin(), c.patch_size.end());
      size_t axis = 0;
      for (size_t i = 1; i < axes; ++i)
        if (patch[i] / c.median_image_size[i] >= patch[axis] / c.median_image_size[axis]) axis = i;
      // The divisor of the smaller patch may itself be smaller; taking the old one off would skip valid sizes.
      Doubles smaller = patch;
      smaller[axis] -= static_cast<double>(divisor[axis + flat]);
      patch[axis] -= static_cast<double>(make_topology(c.spacing_mm, smaller).divisor[axis + flat]);
      if (patch[axis] < 1)
        fail(Fault::usage, "configuration ", c.name, ": no patch fits into ", gpu_memory_gb_,
             " GB; raise --gpu-memory-gb");
      divisor = fit(c, patch);
    }
  }

  const Preset& preset_;
  const PlannerOptions& options_;
  int outputs_;
  double gpu_memory_gb_;
  std::vector<std::string> schemes_;
  std::vector<bool> use_mask_;
};

// 3d_lowres: coarser until a patch covers a quarter of the median volume; none when it saves less than half of it.
std::optional<Configuration> plan_lowres(const Planner& planner, const Configuration& full, double num_training) {
  std::optional<Configuration> low;
  const Doubles& median = full.median_image_size;
  Doubles spacing = full.spacing_mm, size = median;
  double covered = product(Doubles(full.patch_size.begin(), full.patch_size.end()));
  while (covered / product(size) < kLowresShare) {
    const double coarsest = *std::max_element(spacing.begin(), spacing.end());
    const bool uneven = std::any_of(spacing.begin(), spacing.end(), [&](double s) { return coarsest / s > 2; });
    for (double& s : spacing)
      if (!uneven || coarsest / s > 2) s *= kLowresStep;
    Doubles rounded;
    for (size_t i = 0; i < 3; ++i) {
      size[i] = full.spacing_mm[i] / spacing[i] * median[i];
      rounded.push_back(std::nearbyint(size[i]));
    }
    low = planner.plan("3d_lowres", spacing, rounded, product(size) * num_training);
    covered = product(Doubles(low->patch_size.begin(), low->patch_size.end()));
  }
  if (product(median) / product(size) < kLowresGain) low.reset();
  return low;
}

void check_fingerprint(const Fingerprint& f) {
  check(!f.spacings_mm.empty() && f.spacings_mm.size() == f.shapes_after_crop.size(),
        "make_plans: the fingerprint has ", f.spacings_mm.size(), " spacings and ", f.shapes_after_crop.size(),
        " shapes");
  for (const Double3& s : f.spacings_mm)
    for (double mm : s) check(std::isfinite(mm) && mm > 0, "make_plans: a spacing is ", mm, " mm");
}

}  // namespace

Topology make_topology(const std::vector<double>& spacing_mm, const std::vector<double>& patch) {
  const size_t axes = spacing_mm.size(), flat = 3 - axes;
  check((axes == 2 || axes == 3) && patch.size() == axes, "make_topology: ", axes, " spacings and ", patch.size(),
        " extents");
  Topology t;
  t.strides.push_back({1, 1, 1});
  t.divisor = t.patch = {1, 1, 1};
  Doubles spacing = spacing_mm, size = patch;
  Int3 kernel{1, 1, 1};
  const auto halves = [&] {
    std::vector<size_t> can;
    double finest = 0;
    for (size_t i = 0; i < axes; ++i)
      if (size[i] >= 2 * kMinEdge && (finest == 0 || spacing[i] < finest)) finest = spacing[i];
    for (size_t i = 0; i < axes; ++i)
      if (size[i] >= 2 * kMinEdge && spacing[i] / finest < 2) can.push_back(i);
    if (can.size() == 1 && size[can[0]] < 3 * kMinEdge) can.clear();
    return can;
  };
  for (auto axes_to_halve = halves(); !axes_to_halve.empty(); axes_to_halve = halves()) {
    const double finest = *std::min_element(spacing.begin(), spacing.end());
    for (size_t i = 0; i < axes; ++i)
      if (spacing[i] / finest < 2) kernel[i + flat] = 3;
    Int3 stride{1, 1, 1};
    for (size_t i : axes_to_halve) {
      stride[i + flat] = 2;
      t.divisor[i + flat] *= 2;
      spacing[i] *= 2;
      size[i] = std::ceil(size[i] / 2);
    }
    t.strides.push_back(stride);
    t.kernels.push_back(kernel);
  }
  t.kernels.push_back({flat ? 1 : 3, 3, 3});
  for (size_t i = 0; i < axes; ++i) {
    const double d = static_cast<double>(t.divisor[i + flat]);
    t.patch[i + flat] = static_cast<int64_t>(std::ceil(patch[i] / d) * d);
  }
  return t;
}

double feature_map_elements(const std::vector<int64_t>& patch, const Architecture& a, int outputs) {
  Int3 size{1, 1, 1};
  std::copy_backward(patch.begin(), patch.end(), size.end());
  const double full = static_cast<double>(volume(size));
  double sum = outputs * full;
  if (a.residual()) sum += a.features_per_stage[0] * full;  // the stem
  for (size_t s = 0; s < a.strides.size(); ++s) {
    const Int3 before = size;
    for (size_t i = 0; i < 3; ++i) size[i] /= a.strides[s][i];
    const double map = static_cast<double>(volume(size)) * a.features_per_stage[s];
    const int blocks = a.n_conv_per_stage[s];
    const bool skip_conv = before != size || (s > 0 && a.features_per_stage[s] != a.features_per_stage[s - 1]);
    sum += map * (a.residual() ? 2 * blocks + (skip_conv ? 1 : 0) : blocks);
    if (s + 1 < a.strides.size()) sum += map * (a.n_conv_per_stage_decoder[a.strides.size() - 2 - s] + 1);
  }
  return sum;
}

Plans make_plans(const Fingerprint& fingerprint, const DatasetDescription& dataset, const PlannerOptions& options) {
  check_fingerprint(fingerprint);
  const Planner planner(dataset, options, fingerprint.median_relative_size_after_cropping);
  Plans plans;
  plans.dataset_name = dataset.name;
  plans.plans_name = planner.preset().plans_name;
  plans.planner = planner.preset().planner;
  plans.intensities = fingerprint.intensities;

  const Doubles target = target_spacing(fingerprint);
  const int front = static_cast<int>(largest(target));
  plans.transpose_forward = {front, front == 0 ? 1 : 0, front == 2 ? 1 : 2};
  for (size_t i = 0; i < 3; ++i)
    plans.transpose_backward[static_cast<size_t>(plans.transpose_forward[i])] = static_cast<int>(i);

  std::vector<Int3> shapes;
  for (size_t i = 0; i < fingerprint.spacings_mm.size(); ++i)
    shapes.push_back(resampled_shape(fingerprint.shapes_after_crop[i], fingerprint.spacings_mm[i],
                                     {target[0], target[1], target[2]}));
  const Doubles spacing = permuted(target, plans.transpose_forward);
  const Doubles median = permuted(medians(shapes), plans.transpose_forward);
  plans.original_median_spacing_mm = permuted(medians(fingerprint.spacings_mm), plans.transpose_forward);
  for (double e : permuted(medians(fingerprint.shapes_after_crop), plans.transpose_forward))
    plans.original_median_shape.push_back(static_cast<int64_t>(std::nearbyint(e)));

  const double num_training = static_cast<double>(dataset.num_training), voxels = product(median) * num_training;
  plans.configurations.push_back(planner.plan("2d", {spacing[1], spacing[2]}, {median[1], median[2]}, voxels));
  plans.configurations.back().batch_dice = true;
  if (median[0] == 1) return plans;  // a data set of slices

  Configuration full = planner.plan("3d_fullres", spacing, median, voxels, options.patch_size);
  const std::optional<Configuration> low = plan_lowres(planner, full, num_training);
  full.batch_dice = low.has_value();
  if (low) plans.configurations.push_back(*low);
  plans.configurations.push_back(full);
  if (low) {
    full.name = "3d_cascade_fullres";
    full.previous_stage = low->name;
    plans.configurations.push_back(full);
  }
  return plans;
}

}  // namespace metvox
