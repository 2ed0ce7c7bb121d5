// SPDX-License-Identifier: Apache-2.0
// The body of finish_loss(), for the CPU and for kernels.
#pragma once
#include "kernels/loss_finish.h"

namespace metvox {

template <class T>
struct FinishBody {
  LossFinish f;
  const double* sums;
  double* coefficients;
  T* y;

  static constexpr int kPerHead = SegmentationLossProblem::kPerHead;

  METVOX_HD void operator()(int64_t) const {
    double overlap = 0, voxel = 0;
    const double* s = sums;
    double* c = coefficients;
    for (int l = 0; l < f.levels; ++l) {
      overlap += f.weights[l] * level_overlap(f.weights[l], s, c);
      voxel += f.weights[l] * level_voxel(f.weights[l], s, c);
      s += f.n * f.heads * kPerHead + 2;
      c += f.n * f.heads * 2 + 1;
    }
    y[0] = T(overlap + voxel);
    y[1] = T(overlap);
    y[2] = T(voxel);
    for (int which = 0; which < 3; ++which)
      for (int r = 0; r < f.heads; ++r) {
        double count = 0;
        for (int64_t n = 0; n < f.n; ++n) count += sums[(n * f.heads + r) * kPerHead + 3 + which];
        y[3 + which * f.heads + r] = T(count);
      }
  }

  METVOX_HD double level_overlap(double weight, const double* s, double* c) const {
    const int64_t groups = f.over_batch ? 1 : f.n;  // over which overlaps are averaged; one joins n / groups samples
    const double share = 1.0 / static_cast<double>(groups * (f.heads - f.first_head));
    double all = 0;
    for (int64_t i = 0; i < 2 * f.n * f.heads; ++i) c[i] = 0;
    for (int64_t g = 0; g < groups; ++g)
      for (int r = f.first_head; r < f.heads; ++r) {
        const int64_t begin = f.over_batch ? 0 : g, end = f.over_batch ? f.n : g + 1;
        double intersection = 0, prediction = 0, truth = 0;
        for (int64_t n = begin; n < end; ++n) {
          const double* row = s + (n * f.heads + r) * kPerHead;
          intersection += row[0];
          prediction += row[1];
          truth += row[2];
        }
        const OverlapRatio& o = f.overlap;
        const double top = o.top_i * intersection + o.top_0;
        const double sum = o.bottom_i * intersection + o.bottom_p * prediction + o.bottom_g * truth + o.bottom_0;
        const bool floored = sum <= o.floor;
        const double bottom = floored ? o.floor : sum, slope = floored ? 0 : top / (bottom * bottom);
        all += share * (o.base - top / bottom);
        for (int64_t n = begin; n < end; ++n) {
          c[2 * (n * f.heads + r)] = weight * share * (slope * o.bottom_i - o.top_i / bottom);
          c[2 * (n * f.heads + r) + 1] = weight * share * slope * o.bottom_p;
        }
      }
    return all;
  }

  METVOX_HD double level_voxel(double weight, const double* s, double* c) const {
    const double* voxel = s + f.n * f.heads * kPerHead;
    const double count = f.voxel_term_per_voxel ? voxel[1] / f.heads : voxel[1], summands = count > 1 ? count : 1;
    c[2 * f.n * f.heads] = weight / summands;
    return voxel[0] / summands;
  }
};

}  // namespace metvox
