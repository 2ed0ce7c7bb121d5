// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/lesions.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <set>

#include "segmentation/evaluation/border.h"
#include "segmentation/evaluation/components.h"
#include "segmentation/evaluation/distance.h"
#include "segmentation/evaluation/mask.h"

namespace metvox {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Components of either mask, and what lies between them.
class Matcher {
 public:
  Matcher(const LesionMasks& masks, const Geometry& grid, PairDistances& distances)
      : masks_(masks),
        grid_(grid),
        distances_(distances),
        spacing_mm_(distances.spacing_mm()),
        voxel_mm3_(grid.spacing_mm[0] * grid.spacing_mm[1] * grid.spacing_mm[2]),
        normal_(axial_normal(grid)),
        truth_(find_components(masks.truth)),
        prediction_(find_components(masks.prediction)),
        hits_(truth_.components.size()),
        overlap_(truth_.components.size()),
        used_(prediction_.components.size()) {
    const int32_t *t = truth_.index.data<int32_t>(), *p = prediction_.index.data<int32_t>();
    for_each_nonzero(masks.truth.data<uint8_t>(), masks.truth.size(), [&](int64_t i) {
      if (p[i] == 0) return;
      const auto k = static_cast<size_t>(t[i] - 1);
      ++overlap_[k];
      hits_[k].insert(p[i]);
      used_[static_cast<size_t>(p[i] - 1)] = true;
    });
  }

  std::vector<Lesion> lesions() const {
    NearestPoint to_prediction(border_voxels(masks_.prediction), spacing_mm_),
        to_truth(border_voxels(masks_.truth), spacing_mm_);
    std::vector<Lesion> all;
    for (size_t k = 0; k < truth_.components.size(); ++k) {
      Lesion lesion = describe(truth_, k, masks_.enhancing_truth);
      lesion.kind = hits_[k].empty() ? LesionKind::missed : LesionKind::matched;
      if (hits_[k].empty()) {
        lesion.hd95_mm = kInfinity;
        lesion.nearest_mm = nearest_mm(truth_, k, to_prediction);
      } else {
        compare(lesion, k);
      }
      all.push_back(lesion);
    }
    for (size_t k = 0; k < prediction_.components.size(); ++k) {
      if (used_[k]) continue;
      Lesion lesion = describe(prediction_, k, masks_.enhancing_prediction);
      lesion.kind = LesionKind::false_positive;
      lesion.nearest_mm = nearest_mm(prediction_, k, to_truth);
      all.push_back(lesion);
    }
    return all;
  }

 private:
  Lesion describe(const Components& all, size_t k, const Tensor& enhancing) const {
    const Component& c = all.components[k];
    const Tensor mask = mask_of(all.index, static_cast<int32_t>(k + 1), c.box());
    Lesion lesion;
    lesion.id = static_cast<int64_t>(k + 1);
    lesion.centre_mm = grid_.affine({c.centre[2], c.centre[1], c.centre[0]});
    lesion.centre = c.centre;
    lesion.first = c.first;
    lesion.last = c.last;
    lesion.voxels = c.voxels;
    lesion.volume_mm3 = static_cast<double>(c.voxels) * voxel_mm3_;
    lesion.diameter_mm = ball_diameter_mm(lesion.volume_mm3);
    lesion.axial = axial_diameters(mask, normal_, spacing_mm_);
    lesion.enhancing = true;
    if (enhancing) {
      const Tensor here = cropped(enhancing, c.box());
      lesion.enhancing = false;
      for_each_nonzero(mask.data<uint8_t>(), mask.size(),
                       [&](int64_t i) { lesion.enhancing = lesion.enhancing || here.data<uint8_t>()[i]; });
    }
    return lesion;
  }

  // A true lesion against the predicted ones that it touches.
  void compare(Lesion& lesion, size_t k) const {
    CropBox box = truth_.components[k].box();
    int64_t predicted = 0;
    for (const int32_t hit : hits_[k]) {
      const Component& c = prediction_.components[static_cast<size_t>(hit - 1)];
      box = joined(box, c.box());
      predicted += c.voxels;
    }
    Tensor together = cropped(prediction_.index, box), p = Tensor::empty(together.shape(), DType::u8);
    for (int64_t i = 0; i < p.size(); ++i) p.data<uint8_t>()[i] = hits_[k].contains(together.data<int32_t>()[i]);
    const Tensor t = mask_of(truth_.index, static_cast<int32_t>(k + 1), box);
    lesion.overlap_voxels = overlap_[k];
    lesion.dice = 2 * static_cast<double>(overlap_[k]) / static_cast<double>(lesion.voxels + predicted);
    lesion.hd95_mm = distances_.of(p, t).surface_hd95_mm;
    lesion.predicted_volume_mm3 = static_cast<double>(predicted) * voxel_mm3_;
    lesion.predicted_axial = axial_diameters(p, normal_, spacing_mm_);
  }

  double nearest_mm(const Components& all, size_t k, NearestPoint& other) const {
    const CropBox box = all.components[k].box();
    double least = kInfinity;
    for (const Int3& p : border_voxels(mask_of(all.index, static_cast<int32_t>(k + 1), box)))
      least = std::min(least, other.squared_mm2({p[0] + box.first[0], p[1] + box.first[1], p[2] + box.first[2]}));
    return std::sqrt(least);
  }

  const LesionMasks& masks_;
  const Geometry& grid_;
  PairDistances& distances_;
  const Double3 spacing_mm_;
  const double voxel_mm3_;
  const int normal_;
  const Components truth_, prediction_;
  std::vector<std::set<int32_t>> hits_;  // predicted components of each true one
  std::vector<int64_t> overlap_;
  std::vector<bool> used_;
};

}  // namespace

std::string name_of(LesionKind kind) {
  return kind == LesionKind::matched ? "matched" : kind == LesionKind::missed ? "missed" : "false";
}

double ball_diameter_mm(double volume_mm3) { return std::cbrt(6 * volume_mm3 / std::numbers::pi); }

std::vector<Lesion> match_lesions(const LesionMasks& masks, const Geometry& grid, PairDistances& distances) {
  check(masks.prediction.shape() == masks.truth.shape(), "match_lesions: masks of ", masks.prediction.shape(), " and ",
        masks.truth.shape());
  return Matcher(masks, grid, distances).lesions();
}

}  // namespace metvox
