// SPDX-License-Identifier: Apache-2.0
// Labels, resampled as the linear interpolation of one 0/1 mask a label would do it, without making the masks: only
// where the eight voxels around a point differ is anything summed. The sums run in double and in SciPy's order, because
// masks of exactly equal weight are common and the nearest voxel decides between them.
#include <algorithm>
#include <array>

#include "segmentation/data/axis_taps.h"
#include "segmentation/data/resample.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

constexpr int8_t kMixed = -128;  // no label: the four rows differ here

struct Corner {
  int8_t label;
  double weight;
};

// The label whose mask is largest; of equal ones that of the nearest voxel, else the lowest.
int8_t decide(const std::array<Corner, 8>& corners, int8_t nearest) {
  int8_t best = nearest;
  double most = -1;
  for (const Corner& candidate : corners) {
    double mask = 0;
    for (const Corner& c : corners) mask += c.label == candidate.label ? c.weight : 0.0;
    const bool tie_won = mask == most && best != nearest && (candidate.label == nearest || candidate.label < best);
    if (mask <= most && !tie_won) continue;
    best = candidate.label;
    most = mask;
  }
  return best;
}

struct Sampler {
  AxisTaps z, y, x;
  std::array<std::vector<int64_t>, 3> nearest;
  const int8_t* in;
  Int3 n;

  void row(size_t k, size_t j, int8_t* common, int8_t* out) const {
    const int64_t nx = n[2];
    const std::array<int64_t, 2> zs{z.first[k], z.second[k]}, ys{y.first[j], y.second[j]};
    const std::array<double, 2> wz{z.first_weight[k], z.second_weight[k]}, wy{y.first_weight[j], y.second_weight[j]};
    const int8_t* nearest_row = in + (nearest[0][k] * n[1] + nearest[1][j]) * nx;
    std::array<const int8_t*, 4> rows;
    for (size_t r = 0; r < 4; ++r) rows[r] = in + (zs[r / 2] * n[1] + ys[r % 2]) * nx;
    for (int64_t i = 0; i < nx; ++i) {
      const bool same = (rows[0][i] == rows[1][i]) & (rows[0][i] == rows[2][i]) & (rows[0][i] == rows[3][i]);
      common[i] = same ? rows[0][i] : kMixed;
    }
    for (size_t i = 0; i < x.first.size(); ++i) {
      const int64_t a = x.first[i], b = x.second[i];
      if (common[a] != kMixed && common[a] == common[b]) {
        out[i] = common[a];
        continue;
      }
      std::array<Corner, 8> corners;
      for (size_t r = 0; r < 4; ++r) {
        const double w = wz[r / 2] * wy[r % 2];
        corners[2 * r] = {rows[r][a], w * x.first_weight[i]};
        corners[2 * r + 1] = {rows[r][b], w * x.second_weight[i]};
      }
      out[i] = decide(corners, nearest_row[nearest[2][i]]);
    }
  }
};

}  // namespace

Tensor resample_labels(const Tensor& labels, const Int3& shape, const Double3& current_mm, const Double3& target_mm) {
  check(labels.shape().rank() == 3, "resample_labels: the labels are ", labels.shape(), ", expected (z, y, x)");
  const Int3 from{labels.shape()[0], labels.shape()[1], labels.shape()[2]};
  if (from == shape) return labels;
  const SeparateZ rule = separate_z(current_mm, target_mm);
  std::array<AxisTaps, 3> taps;
  std::array<std::vector<int64_t>, 3> nearest;
  for (size_t a = 0; a < 3; ++a) {
    const AxisTaps flat = nearest_taps(from[a], shape[a]);
    taps[a] = rule.separate && rule.axis == static_cast<int>(a) ? flat : linear_taps(from[a], shape[a]);
    nearest[a] = flat.first;
  }
  const Sampler sampler{taps[0], taps[1], taps[2], nearest, labels.data<int8_t>(), from};
  Tensor out = Tensor::empty({shape[0], shape[1], shape[2]}, DType::i8);
  parallel_for(shape[0] * shape[1], 256, [&](int64_t first, int64_t last) {
    std::vector<int8_t> common(static_cast<size_t>(from[2]));
    for (int64_t r = first; r < last; ++r)
      sampler.row(static_cast<size_t>(r / shape[1]), static_cast<size_t>(r % shape[1]), common.data(),
                  out.data<int8_t>() + r * shape[2]);
  });
  return out;
}

}  // namespace metvox
