// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/lesions.h"

#include <cmath>
#include <numbers>
#include <set>

namespace metvox {

namespace {

Lesion describe_component(const Component& c, LesionKind kind, const Geometry& grid) {
  const double voxel_mm3 = grid.spacing_mm[0] * grid.spacing_mm[1] * grid.spacing_mm[2];
  Lesion lesion;
  lesion.kind = kind;
  lesion.centre_mm = grid.affine({c.centre[2], c.centre[1], c.centre[0]});
  lesion.voxels = c.voxels;
  lesion.volume_mm3 = static_cast<double>(c.voxels) * voxel_mm3;
  lesion.diameter_mm = ball_diameter_mm(lesion.volume_mm3);
  lesion.first = c.first;
  lesion.last = c.last;
  return lesion;
}

}  // namespace

std::string name_of(LesionKind kind) {
  return kind == LesionKind::matched ? "matched" : kind == LesionKind::missed ? "missed" : "false";
}

double ball_diameter_mm(double volume_mm3) { return std::cbrt(6 * volume_mm3 / std::numbers::pi); }

std::vector<Lesion> match_lesions(const Tensor& prediction, const Tensor& truth, const Geometry& grid) {
  check(prediction.shape() == truth.shape(), "match_lesions: masks of ", prediction.shape(), " and ", truth.shape());
  const Components p = find_components(prediction), t = find_components(truth);
  std::vector<int64_t> overlap(t.components.size());
  std::vector<std::set<int32_t>> hits(t.components.size());
  std::vector<bool> used(p.components.size());
  for (int64_t i = 0; i < truth.size(); ++i) {
    const int32_t a = p.index.data<int32_t>()[i], b = t.index.data<int32_t>()[i];
    if (a == 0 || b == 0) continue;
    ++overlap[b - 1];
    hits[b - 1].insert(a - 1);
    used[a - 1] = true;
  }
  std::vector<Lesion> lesions;
  for (size_t k = 0; k < t.components.size(); ++k) {
    Lesion lesion = describe_component(t.components[k], overlap[k] ? LesionKind::matched : LesionKind::missed, grid);
    int64_t predicted = 0;
    for (int32_t hit : hits[k]) predicted += p.components[hit].voxels;
    lesion.overlap_voxels = overlap[k];
    lesion.dice = 2 * static_cast<double>(overlap[k]) / static_cast<double>(lesion.voxels + predicted);
    lesions.push_back(lesion);
  }
  for (size_t k = 0; k < p.components.size(); ++k)
    if (!used[k]) lesions.push_back(describe_component(p.components[k], LesionKind::false_positive, grid));
  return lesions;
}

}  // namespace metvox
