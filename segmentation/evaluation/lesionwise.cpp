// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/lesionwise.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "segmentation/evaluation/components.h"
#include "segmentation/evaluation/mask.h"

namespace metvox {

namespace {

// Lesions of a mask: which voxels belong to which.
struct LesionMap {
  struct Entry {
    int64_t voxels = 0;
    CropBox box;
  };
  Tensor index;  // i32 (z, y, x): 0 outside, else a key of `lesions`
  std::map<int32_t, Entry> lesions;
  CropBox box() const {
    CropBox all;
    for (const auto& [k, lesion] : lesions) all = joined(all, lesion.box);
    return all;
  }
};

template <class F>
void for_each_voxel(const Tensor& index, const CropBox& box, F&& f) {
  const Shape& n = index.shape();
  for (int64_t z = box.first[0]; z < box.last[0]; ++z)
    for (int64_t y = box.first[1]; y < box.last[1]; ++y)
      for (int64_t x = box.first[2], i = (z * n[1] + y) * n[2] + x; x < box.last[2]; ++x, ++i)
        if (index.data<int32_t>()[i]) f(i, Int3{z, y, x});
}

// Counts anew what the index holds within the box.
void measure(LesionMap& map, const CropBox& box) {
  map.lesions.clear();
  int32_t current = 0;
  LesionMap::Entry* lesion = nullptr;
  for_each_voxel(map.index, box, [&](int64_t i, const Int3& p) {
    if (const int32_t k = map.index.data<int32_t>()[i]; k != current) {
      current = k;
      lesion = &map.lesions.try_emplace(k, LesionMap::Entry{0, {p, p}}).first->second;
    }
    ++lesion->voxels;
    for (size_t a = 0; a < 3; ++a) {
      lesion->box.first[a] = std::min(lesion->box.first[a], p[a]);
      lesion->box.last[a] = std::max(lesion->box.last[a], p[a] + 1);
    }
  });
}

// Pieces whose dilations touch are one lesion; dilation 0 leaves the 26-connected pieces.
LesionMap lesions_of(const Tensor& mask, int dilation) {
  LesionMap map{find_components(dilation ? dilated(mask, dilation) : mask).index, {}};
  if (dilation) {
    const Tensor wider = map.index;
    map.index = Tensor::zeros(mask.shape(), DType::i32);
    for_each_nonzero(mask.data<uint8_t>(), mask.size(),
                     [&](int64_t i) { map.index.data<int32_t>()[i] = wider.data<int32_t>()[i]; });
  }
  measure(map, bounding_box(mask));
  return map;
}

void leave_out_small(LesionMap& map, int64_t voxels) {
  for_each_voxel(map.index, map.box(), [&](int64_t i, const Int3&) {
    int32_t& k = map.index.data<int32_t>()[i];
    if (map.lesions.at(k).voxels <= voxels) k = 0;
  });
  std::erase_if(map.lesions, [&](const auto& entry) { return entry.second.voxels <= voxels; });
}

// Lesions of one core become one. Which core decides for a lesion at several is the one that the script numbers first:
// it meets dilated cores with the file's first axis slowest, x, then y, then z.
void join_by_core(LesionMap& enhancing, const LesionMap& cores) {
  const Shape& n = cores.index.shape();
  std::map<int32_t, Int3> first;  // (x, y, z) where the dilated core begins
  std::map<int32_t, std::set<int32_t>> touched;
  for_each_voxel(cores.index, cores.box(), [&](int64_t i, const Int3& p) {
    const int32_t core = cores.index.data<int32_t>()[i];
    for (int64_t dx = -1; dx <= 1; ++dx)
      for (int64_t dy = -1; dy <= 1; ++dy)
        for (int64_t dz = -1; dz <= 1; ++dz) {
          const Int3 q{p[0] + dz, p[1] + dy, p[2] + dx};
          if (dz * dy * dx != 0 || q[0] < 0 || q[1] < 0 || q[2] < 0 || q[0] >= n[0] || q[1] >= n[1] || q[2] >= n[2])
            continue;
          const Int3 order{q[2], q[1], q[0]};
          const auto [at, is_new] = first.try_emplace(core, order);
          if (order < at->second) at->second = order;
          const int32_t lesion = enhancing.index.data<int32_t>()[(q[0] * n[1] + q[1]) * n[2] + q[2]];
          if (lesion) touched[lesion].insert(core);
        }
  });
  std::map<int32_t, int32_t> lesion_of_core, renamed;
  for (const auto& [lesion, at] : touched) {
    const int32_t core =
        *std::min_element(at.begin(), at.end(), [&](int32_t a, int32_t b) { return first[a] < first[b]; });
    renamed[lesion] = lesion_of_core.try_emplace(core, lesion).first->second;
  }
  for_each_voxel(enhancing.index, enhancing.box(), [&](int64_t i, const Int3&) {
    int32_t& k = enhancing.index.data<int32_t>()[i];
    if (const auto to = renamed.find(k); to != renamed.end()) k = to->second;
  });
  measure(enhancing, enhancing.box());
}

LesionMap lesions_by_rules(const Tensor& labels, const LabelTarget& region, const LesionwiseRules& rules, bool truth) {
  const int dilation = truth || rules.join_predictions ? rules.dilation : 0;
  const auto counted = [&](const LabelTarget& target) {
    LesionMap map = lesions_of(region_mask(labels, target), dilation);
    if (!truth && rules.ignored_voxels > 0) leave_out_small(map, rules.ignored_voxels);
    return map;
  };
  LesionMap map = counted(region);
  if (rules.join_predictions && region.labels == std::vector<int>{3}) join_by_core(map, counted({"netc", {1}}));
  return map;
}

std::set<int32_t> hits_in_halo(const LesionMap& truth, int32_t k, const LesionMap& prediction, int dilation) {
  const CropBox box = grown(truth.lesions.at(k).box, dilation, truth.index.shape());
  const Tensor halo = dilated(mask_of(truth.index, k, box), dilation), near = cropped(prediction.index, box);
  std::set<int32_t> hits;
  for_each_nonzero(halo.data<uint8_t>(), halo.size(), [&](int64_t i) {
    if (const int32_t hit = near.data<int32_t>()[i]) hits.insert(hit);
  });
  return hits;
}

LesionwiseLesion score_lesion(const LesionMap& truth, int32_t k, const LesionMap& prediction,
                              const std::set<int32_t>& hits, const LesionwiseRules& rules, PairDistances& distances) {
  const Double3& spacing_mm = distances.spacing_mm();
  LesionwiseLesion lesion;
  const LesionMap::Entry& entry = truth.lesions.at(k);
  lesion.volume_mm3 = static_cast<double>(entry.voxels) * spacing_mm[2] * spacing_mm[1] * spacing_mm[0];
  lesion.counted = lesion.volume_mm3 > rules.ignored_mm3;
  lesion.hits = static_cast<int64_t>(hits.size());
  lesion.hd95_mm = rules.penalty_mm;
  if (hits.empty()) return lesion;
  CropBox box = entry.box;
  for (const int32_t hit : hits) box = joined(box, prediction.lesions.at(hit).box);
  const Tensor t = mask_of(truth.index, k, box), near = cropped(prediction.index, box);
  Tensor p = Tensor::empty(near.shape(), DType::u8);
  int64_t common = 0, predicted = 0;
  for (int64_t i = 0; i < p.size(); ++i) {
    const bool inside = hits.contains(near.data<int32_t>()[i]);
    p.data<uint8_t>()[i] = inside;
    predicted += inside;
    common += inside && t.data<uint8_t>()[i];
  }
  lesion.dice = 2 * static_cast<double>(common) / static_cast<double>(entry.voxels + predicted);
  const PairMeasures& measures = distances.of(p, t);
  lesion.hd95_mm = measures.surface_hd95_mm;
  lesion.nsd = {measures.nsd_half, measures.nsd_one};
  return lesion;
}

}  // namespace

std::vector<LabelTarget> challenge_regions() { return {{"et", {3}}, {"tc", {1, 3}}, {"wt", {1, 2, 3}}}; }

LesionwiseRules rules_2023() { return {"BraTS2023", 1, 2, false, 0, 374}; }
LesionwiseRules rules_2024() { return {"BraTS2024", 1, 2, true, 2, 374}; }

LesionwiseScores lesionwise_scores(const Tensor& prediction, const Tensor& truth, const LabelTarget& region,
                                   const LesionwiseRules& rules, PairDistances& distances) {
  const LesionMap p = lesions_by_rules(prediction, region, rules, false),
                  t = lesions_by_rules(truth, region, rules, true);
  LesionwiseScores scores;
  std::set<int32_t> used;
  double dice = 0, hd95_mm = 0;
  std::array<double, 2> nsd{};
  for (const auto& [k, entry] : t.lesions) {
    const std::set<int32_t> hits = hits_in_halo(t, k, p, rules.dilation);
    used.insert(hits.begin(), hits.end());
    const LesionwiseLesion& lesion = scores.lesions.emplace_back(score_lesion(t, k, p, hits, rules, distances));
    if (!lesion.counted) continue;
    ++(lesion.hits ? scores.tp : scores.fn);
    dice += lesion.dice;
    hd95_mm += lesion.hd95_mm;
    for (size_t i = 0; i < 2; ++i) nsd[i] += lesion.nsd[i];
  }
  scores.fp = static_cast<int64_t>(p.lesions.size() - used.size());
  if (const int64_t all = scores.tp + scores.fn + scores.fp; all > 0) {
    const auto n = static_cast<double>(all);
    scores.dice = dice / n;
    scores.hd95_mm = (hd95_mm + rules.penalty_mm * static_cast<double>(scores.fp)) / n;
    scores.nsd = {nsd[0] / n, nsd[1] / n};
  }
  return scores;
}

LegacyScores legacy_scores(const Counts& counts, double hd95_mm, const LesionwiseRules& rules) {
  const bool no_truth = counts.truth() == 0, both_empty = no_truth && counts.predicted() == 0;
  if (both_empty) return {};
  return {counts.dice(), std::isfinite(hd95_mm) ? hd95_mm : rules.penalty_mm, no_truth ? 0 : counts.sensitivity(),
          counts.tn + counts.fp == 0 ? 0 : counts.specificity()};
}

}  // namespace metvox
