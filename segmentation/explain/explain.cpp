// SPDX-License-Identifier: Apache-2.0
#include "segmentation/explain/explain.h"

#include <algorithm>
#include <cmath>

#include "io/nifti.h"
#include "segmentation/data/permute.h"
#include "segmentation/evaluation/components.h"
#include "segmentation/evaluation/metrics.h"
#include "segmentation/evaluation/slices.h"
#include "segmentation/evaluation/viewer_files.h"
#include "segmentation/explain/explain_colours.h"
#include "segmentation/inference/predict_cases.h"
#include "segmentation/inference/previous_stage.h"

namespace metvox {

namespace {

constexpr int kPanelHeight = 260;
constexpr uint8_t kHit = 1, kFalse = 2, kMissed = 3;

// Part of a file's name.
std::string file_word(std::string name) {
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-') c = '_';
  return name;
}

Tensor part(const Tensor& maps, int64_t index) {
  const Shape& n = maps.shape();
  return maps.slice(index, 1).reshape({n[1], n[2], n[3]});
}

// How opaque a value is: full at `most`.
Tensor share(const Tensor& map, double most, float opacity) {
  const Tensor out = Tensor::empty(map.shape(), DType::f32);
  for (int64_t i = 0; i < map.size(); ++i)
    out.data<float>()[i] = most == 0 ? 0 : opacity * std::max(0.f, map.data<float>()[i] / static_cast<float>(most));
  return out;
}

Tensor share_of_label(const Tensor& labels, uint8_t label) {
  const Tensor out = Tensor::empty(labels.shape(), DType::f32);
  for (int64_t i = 0; i < labels.size(); ++i) out.data<float>()[i] = labels.data<uint8_t>()[i] == label ? .6f : 0.f;
  return out;
}

double largest(const Tensor& map, float sign) {
  float most = 0;
  for (int64_t i = 0; i < map.size(); ++i) most = std::max(most, sign * map.data<float>()[i]);
  return most;
}

double mean_inside(const float* map, const uint8_t* mask, int64_t voxels) {
  double sum = 0, n = 0;
  for (int64_t i = 0; i < voxels; ++i)
    if (mask[i]) sum += map[i], ++n;
  return sum / n;
}

Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Tensor error_map(const Tensor& predicted, const Tensor& truth) {
  const Tensor out = Tensor::zeros(predicted.shape(), DType::u8);
  for (int64_t i = 0; i < out.size(); ++i) {
    const bool p = predicted.data<uint8_t>()[i], t = truth.data<uint8_t>()[i];
    out.data<uint8_t>()[i] = p && t ? kHit : p ? kFalse : t ? kMissed : uint8_t{0};
  }
  return out;
}

}  // namespace

struct Explainer::Case {
  Path folder;
  CaseImages images;
  Tensor truth, segmentation;  // u8 on the raw grid; the truth may be empty
  PreprocessedCase prepared;   // what the network sees; seg: the truth
  Uncertainty uncertainty;
  Int3 size{};      // of the preprocessed case
  Double3 point{};  // raw voxel (z, y, x) that the pictures show
  Json numbers;
  std::vector<std::pair<std::string, std::vector<Tint>>> rows;  // of the picture
};

Explainer::Explainer(const ModelFolder& model, Predictor& predictor, GradCam* grad_cam, const ExplainOptions& options)
    : model_(model), predictor_(predictor), grad_cam_(grad_cam), options_(options) {
  check(options.region < model.dataset.labels.foreground().size(), "Explainer: no such region");
  check(!options.grad_cam || grad_cam, "Explainer: no Grad-CAM");
}

namespace {

// Voxel (z, y, x) of the raw file to the preprocessed grid, and back.
Double3 to_prepared(const Double3& raw, const CaseProperties& p, const Plans& plans, const Int3& size) {
  Double3 v = permute(raw, plans.transpose_forward);
  for (int a = 0; a < 3; ++a)
    v[a] = (v[a] - static_cast<double>(p.bbox_first[a]) + .5) * static_cast<double>(size[a]) /
               static_cast<double>(p.shape_after_cropping[a]) -
           .5;
  return v;
}

Double3 to_raw(Double3 v, const CaseProperties& p, const Plans& plans, const Int3& size) {
  for (int a = 0; a < 3; ++a)
    v[a] = (v[a] + .5) * static_cast<double>(p.shape_after_cropping[a]) / static_cast<double>(size[a]) - .5 +
           static_cast<double>(p.bbox_first[a]);
  return permute(v, plans.transpose_backward);
}

// u8 (z, y, x) on the preprocessed grid: predicted, or true, as the region.
Tensor region_at_model_grid(const Tensor& logits, const Tensor& seg, const Labels& labels, size_t region) {
  const Shape& n = logits.shape();
  const int64_t voxels = n[1] * n[2] * n[3], heads = n[0];
  const std::vector<int>& wanted = labels.foreground()[region].labels;
  const Tensor mask = Tensor::zeros({n[1], n[2], n[3]}, DType::u8);
  const float* z = logits.data<float>();
  for (int64_t i = 0; i < voxels; ++i) {
    bool inside = labels.has_regions() && z[static_cast<int64_t>(region) * voxels + i] > 0;
    if (!labels.has_regions()) {
      int64_t best = 0;
      for (int64_t h = 1; h < heads; ++h)
        if (z[h * voxels + i] > z[best * voxels + i]) best = h;
      inside = best == static_cast<int64_t>(region) + 1;
    }
    if (seg) inside = inside || std::find(wanted.begin(), wanted.end(), seg.data<int8_t>()[i]) != wanted.end();
    mask.data<uint8_t>()[i] = inside;
  }
  return mask;
}

// The component with a voxel nearest to the point, mm; without a point the largest. 0: there is none.
int32_t choose(const Components& lesions, const std::optional<Double3>& point, const Double3& spacing_mm) {
  int32_t chosen = 0;
  if (!point) {
    for (size_t k = 0; k < lesions.components.size(); ++k)
      if (chosen == 0 || lesions.components[k].voxels > lesions.components[chosen - 1].voxels)
        chosen = static_cast<int32_t>(k + 1);
    return chosen;
  }
  const Shape& n = lesions.index.shape();
  double least = INFINITY;
  for (int64_t i = 0; i < lesions.index.size(); ++i) {
    const int32_t lesion = lesions.index.data<int32_t>()[i];
    if (lesion == 0) continue;
    const Int3 at{i / (n[1] * n[2]), i / n[2] % n[1], i % n[2]};
    double square = 0;
    for (int a = 0; a < 3; ++a) square += std::pow((static_cast<double>(at[a]) - (*point)[a]) * spacing_mm[a], 2);
    if (square >= least) continue;
    least = square;
    chosen = lesion;
  }
  return chosen;
}

}  // namespace

void Explainer::write_region_maps(Case& c) {
  const auto regions = model_.dataset.labels.foreground();
  const Geometry& grid = c.images.geometry;
  const auto restored = [&](const Tensor& maps) {
    return restore_maps(maps, c.prepared.properties, model_.plans, model_.config());
  };
  const Tensor entropy = options_.entropy ? restored(c.uncertainty.entropy) : Tensor();
  const Tensor disagreement = options_.disagreement ? restored(c.uncertainty.disagreement) : Tensor();
  for (size_t r = 0; r < regions.size(); ++r) {
    const std::string word = "_" + file_word(regions[r].name) + ".nii.gz";
    const Tensor predicted = region_mask(c.segmentation, regions[r]);
    Json& numbers = c.numbers["regions"][regions[r].name];
    const auto add_map = [&](const Tensor& maps, const std::string& name, double most) {
      if (!maps) return;
      const Tensor map = part(maps, static_cast<int64_t>(r));
      write_nifti(c.folder / (name + word), map, grid, {0, "metvox " METVOX_VERSION " explain: " + name});
      numbers[name + "_mean_in_prediction"] =
          finite(mean_inside(map.data<float>(), predicted.data<uint8_t>(), map.size()));
      if (r == options_.region) c.rows.push_back({name, {{share(map, most, .9f), kUnsureColour}}});
    };
    add_map(entropy, "entropy", 1);
    add_map(disagreement, "disagreement", .5);
    if (!options_.errors || !c.truth) continue;
    const Tensor errors = error_map(predicted, region_mask(c.truth, regions[r]));
    write_nifti(
        c.folder / ("errors" + word), errors, grid,
        {kIntentLabel, "metvox " METVOX_VERSION " explain: 1 hit, 2 false, 3 missed",
         label_description(
             {{kHit, "hit", kHitColour}, {kFalse, "false", kFalseColour}, {kMissed, "missed", kMissedColour}})});
    const Counts counts = LabelPairs(c.segmentation, c.truth).counts(regions[r], model_.dataset.labels.ignore_label());
    numbers["TP"] = counts.tp;
    numbers["FP"] = counts.fp;
    numbers["FN"] = counts.fn;
    numbers["Dice"] = finite(counts.dice());
    if (r == options_.region)
      c.rows.push_back({"errors",
                        {{share_of_label(errors, kHit), kHitColour},
                         {share_of_label(errors, kFalse), kFalseColour},
                         {share_of_label(errors, kMissed), kMissedColour}}});
  }
}

void Explainer::explain_lesion(Case& c, const std::function<void(double)>& progress) {
  const Labels& labels = model_.dataset.labels;
  const LabelTarget region = labels.foreground()[options_.region];
  const CaseProperties& p = c.prepared.properties;
  const Double3 spacing_mm = target_spacing_mm(p, model_.config());
  std::optional<Double3> point;
  if (options_.at_mm) {
    const auto [i, j, k] = c.images.geometry.affine.inverse()(*options_.at_mm);
    point = to_prepared({k, j, i}, p, model_.plans, c.size);
  }
  const Components lesions =
      find_components(region_at_model_grid(c.uncertainty.logits, c.prepared.seg, labels, options_.region));
  const int32_t chosen = choose(lesions, point, spacing_mm);
  if (chosen == 0) {
    c.numbers["lesion"] = nullptr;
    return;
  }
  const Component& lesion = lesions.components[static_cast<size_t>(chosen - 1)];
  const Tensor mask = mask_of(lesions.index, chosen, {{0, 0, 0}, c.size});
  c.point = to_raw(lesion.centre, p, model_.plans, c.size);
  Json& numbers = c.numbers["lesion"];
  numbers = {{"region", region.name},
             {"centre_mm", c.images.geometry.affine({c.point[2], c.point[1], c.point[0]})},
             {"volume_mm3", static_cast<double>(lesion.voxels) * spacing_mm[0] * spacing_mm[1] * spacing_mm[2]},
             {"mean_probability",
              mean_inside(part(c.uncertainty.probability, static_cast<int64_t>(options_.region)).data<float>(),
                          mask.data<uint8_t>(), mask.size())}};
  if (!options_.occlusion && !options_.grad_cam) return;
  const LesionWindow window = window_around(mask, c.prepared.data, model_.config().patch());
  const auto write_map = [&](const Tensor& map, const std::string& name) {
    const Tensor raw = part(restore_maps(placed(map, window, c.size), p, model_.plans, model_.config()), 0);
    write_nifti(c.folder / (name + "_" + file_word(region.name) + ".nii.gz"), raw, c.images.geometry,
                {0, "metvox " METVOX_VERSION " explain: " + name});
    return raw;
  };
  if (options_.grad_cam) {
    const Tensor map = write_map((*grad_cam_)(window), "gradcam");
    numbers["gradcam"] = {{"features", std::vector<int64_t>{grad_cam_->features()[1], grad_cam_->features()[2],
                                                            grad_cam_->features()[3], grad_cam_->features()[4]}},
                          {"largest", largest(map, 1)}};
    c.rows.push_back({"Grad-CAM", {{share(map, largest(map, 1), .75f), kForColour}}});
  }
  if (!options_.occlusion) return;
  const Occlusion o = occlusion_of(
      predictor_, window, labels, options_.region, spacing_mm,
      [&](int64_t done, int64_t total) { progress(static_cast<double>(done) / static_cast<double>(total)); });
  const Tensor map = write_map(o.lost, "occlusion");
  const double most = std::max(largest(map, 1), largest(map, -1));
  c.rows.push_back({"occlusion", {{share(map, most, .75f), kForColour}, {share(map, -most, .75f), kAgainstColour}}});
  numbers["occlusion"] = {{"log_odds", o.log_odds}, {"box_voxels", o.edge}, {"most_lost", most}};
  const auto inputs = input_names(model_.dataset.channel_names, window.data.shape()[0]);
  for (size_t k = 0; k < inputs.size(); ++k) numbers["occlusion"]["lost_without"][inputs[k]] = o.lost_without[k];
}

void Explainer::paint(const Case& c) const {
  const CaseVolumes volumes{c.images.data, c.segmentation, c.truth, c.images.geometry};
  const SlicePainter painter(volumes);
  const LabelTarget region = model_.dataset.labels.foreground()[options_.region];
  std::vector<Picture> rows{painter.three_planes(
      c.point, kPanelHeight, {0, {region}, model_.dataset.channel_names[0] + " " + region.name, {}})};
  for (const auto& [name, tints] : c.rows)
    rows.push_back(painter.three_planes(c.point, kPanelHeight, {0, {}, name, tints}));
  write_png(c.folder / "overview.png", below(rows, kPanelGap));
}

Explanation Explainer::explain(const CaseFiles& files, const Path& out, std::vector<std::string>& warnings,
                               const std::function<void(double)>& progress) {
  const Labels& labels = model_.dataset.labels;
  Case c;
  c.folder = out / files.id;
  c.images = read_case(files);
  for (const std::string& w : c.images.warnings) warnings.push_back(w);
  if (!files.label.empty()) c.truth = read_case_labels(files, c.images.geometry, labels);
  const Tensor previous = read_previous_stage(files.id, model_, c.images.geometry, options_.previous_stage);
  const auto prepared = [&](const Tensor& with) {
    return preprocess_case(files.id, c.images, with, model_.plans, model_.config(), labels, 0);
  };
  c.prepared = prepared(previous ? previous : c.truth);
  if (previous) {
    const Tensor said = c.prepared.seg;
    c.prepared.data = with_previous_labels(c.prepared.data, said, previous_labels(model_.dataset, model_.config()));
    c.prepared.seg = c.truth ? prepared(c.truth).seg : Tensor();
  }
  const Shape& n = c.prepared.data.shape();
  c.size = {n[1], n[2], n[3]};
  const double whole = options_.occlusion ? .5 : 1;  // of the progress, by rule of thumb
  c.uncertainty = uncertainty_of(predictor_, c.prepared.data, labels, [&](int64_t done, int64_t total) {
    progress(whole * static_cast<double>(done) / static_cast<double>(total));
  });
  c.segmentation = restore_labels(c.uncertainty.logits, c.prepared.properties, model_.plans, model_.config(), labels);
  c.point = to_raw({static_cast<double>(n[1]) / 2, static_cast<double>(n[2]) / 2, static_cast<double>(n[3]) / 2},
                   c.prepared.properties, model_.plans, c.size);
  c.numbers["case"] = files.id;
  make_folder(c.folder);
  write_nifti(c.folder / "segmentation.nii.gz", c.segmentation, c.images.geometry,
              {kIntentLabel, "metvox " METVOX_VERSION, label_description(viewer_labels(labels))});
  write_region_maps(c);
  explain_lesion(c, [&](double share) { progress(whole + (1 - whole) * share); });
  paint(c);
  write_json(c.folder / "numbers.json", c.numbers);
  return {c.folder, c.numbers};
}

}  // namespace metvox
