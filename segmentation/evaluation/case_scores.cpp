// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/case_scores.h"

#include <algorithm>

#include "segmentation/evaluation/mask.h"
#include "segmentation/evaluation/surface.h"

namespace metvox {

namespace {

// Where either volume has a label, and two voxels more: all that dilations and surfaces can reach.
CropBox labelled_box(const Tensor& prediction, const Tensor& truth) {
  Tensor any = Tensor::empty(truth.shape(), DType::u8);
  std::transform(prediction.data<uint8_t>(), prediction.data<uint8_t>() + prediction.size(), truth.data<uint8_t>(),
                 any.data<uint8_t>(), [](uint8_t a, uint8_t b) { return (a | b) != 0; });
  const CropBox box = bounding_box(any);
  return grown(is_empty(box) ? CropBox{{0, 0, 0}, {1, 1, 1}} : box, 2, truth.shape());
}

// The labelled part of a case.
struct Part {
  Tensor prediction, truth;
  Geometry grid;  // of the part
  Int3 first{};   // of it in the image
  Double3 spacing_mm{};
};

Part labelled_part(const Tensor& prediction, const Tensor& truth, const Geometry& grid) {
  const CropBox box = labelled_box(prediction, truth);
  Part part{cropped(prediction, box), cropped(truth, box), grid, box.first, {}};
  const Int3 n = extent(box);
  const auto corner = grid.affine(
      {static_cast<double>(box.first[2]), static_cast<double>(box.first[1]), static_cast<double>(box.first[0])});
  for (size_t a = 0; a < 3; ++a) {
    part.grid.shape[a] = n[2 - a];
    part.grid.affine.m[a][3] = corner[a];
    part.spacing_mm[a] = grid.spacing_mm[2 - a];
  }
  return part;
}

void move(Lesion& lesion, const Int3& by) {
  for (size_t a = 0; a < 3; ++a) {
    lesion.centre[a] += static_cast<double>(by[a]);
    lesion.first[a] += by[a];
    lesion.last[a] += by[a];
  }
}

void score_as_challenges(RegionScores& s, const LabelTarget& region, const LabelPairs& pairs, const Part& part,
                         PairDistances& distances) {
  const Counts counts = pairs.counts(region);
  const Tensor p = region_mask(part.prediction, region), t = region_mask(part.truth, region);
  const double hd95_mm = counts == s.counts ? s.hd95_mm : surface_distances(p, t, part.spacing_mm).hausdorff_mm(.95);
  s.legacy = legacy_scores(counts, hd95_mm, rules_2023());
  s.lesionwise_2023 = lesionwise_scores(part.prediction, part.truth, region, rules_2023(), distances);
  s.lesionwise_2024 = lesionwise_scores(part.prediction, part.truth, region, rules_2024(), distances);
  s.instances_2026 = instance_scores(p, t, distances);
}

RegionScores score_region(const LabelTarget& region, const LabelPairs& pairs, const Part& part,
                          const Tensor& enhancing_prediction, const Tensor& enhancing_truth, PairDistances& distances) {
  const double voxel_ml = part.spacing_mm[2] * part.spacing_mm[1] * part.spacing_mm[0] / 1000;
  const Tensor p = region_mask(part.prediction, region), t = region_mask(part.truth, region);
  const SurfaceDistances surface = surface_distances(p, t, part.spacing_mm);
  RegionScores s;
  s.counts = pairs.counts(region);
  s.hd95_mm = surface.hausdorff_mm(.95);
  s.hd100_mm = surface.hausdorff_mm(1);
  for (size_t i = 0; i < kSurfaceTolerances_mm.size(); ++i) s.surface_dice[i] = surface.dice(kSurfaceTolerances_mm[i]);
  s.true_volume_ml = static_cast<double>(s.counts.truth()) * voxel_ml;
  s.predicted_volume_ml = static_cast<double>(s.counts.predicted()) * voxel_ml;
  s.lesions = match_lesions({p, t, enhancing_prediction, enhancing_truth}, part.grid, distances);
  for (Lesion& lesion : s.lesions) move(lesion, part.first);
  return s;
}

}  // namespace

CaseScores score_case(const std::string& sample, const Tensor& prediction, const Tensor& truth, const Geometry& grid) {
  const LabelPairs pairs(prediction, truth);
  const Part part = labelled_part(prediction, truth, grid);
  const auto regions = metastasis_regions(), challenges = challenge_regions();
  const LabelTarget &et = regions[0], &tc = regions[1];
  const Tensor et_prediction = region_mask(part.prediction, et), et_truth = region_mask(part.truth, et);
  CaseScores scores{sample, {}, {}, {}};
  PairDistances distances(part.spacing_mm);
  for (size_t r = 0; r < regions.size(); ++r) {
    scores.regions[r] = score_region(regions[r], pairs, part, et_prediction, et_truth, distances);
    score_as_challenges(scores.regions[r], challenges[r], pairs, part, distances);
  }
  scores.true_targets = target_lesions(region_mask(part.truth, tc), et_truth, part.grid);
  scores.predicted_targets = target_lesions(region_mask(part.prediction, tc), et_prediction, part.grid);
  return scores;
}

std::vector<std::string> notes_of(const CaseScores& scores) {
  const auto regions = metastasis_regions();
  std::vector<std::string> notes;
  for (size_t r = 0; r < regions.size(); ++r) {
    const Counts& c = scores.regions[r].counts;
    const bool no_truth = c.truth() == 0, no_prediction = c.predicted() == 0;
    if (no_truth && no_prediction)
      notes.push_back(regions[r].name +
                      ": truth and prediction are empty, overlaps are not defined, distances infinite");
    else if (no_truth)
      notes.push_back(regions[r].name + ": the truth is empty, sensitivity is not defined, distances are infinite");
    else if (no_prediction) notes.push_back(regions[r].name + ": the prediction is empty, distances are infinite");
  }
  return notes;
}

}  // namespace metvox
