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
    double* c = coefficients;
    for (int l = 0; l < f.levels; ++l) {
      overlap += f.weights[l] * level_overlap(l, c);
      voxel += f.weights[l] * level_voxel(l, c);
      c += f.n * f.heads * 2 + 1;
    }
    y[0] = T(overlap + voxel);
    y[1] = T(overlap);
    y[2] = T(voxel);
    for (int which = 0; which < 3; ++which)
      for (int r = 0; r < f.heads; ++r) {
        double count = 0;
        for (int64_t n = 0; n < samples(); ++n) count += row(0, n, r)[3 + which];
        y[3 + which * f.heads + r] = T(count);
      }
  }

  // Samples are counted over all ranks.
  METVOX_HD int64_t samples() const { return f.n * f.ranks; }
  METVOX_HD const double* level(int rank, int l) const {
    return sums + (rank * f.levels + l) * (f.n * f.heads * kPerHead + 2);
  }
  METVOX_HD const double* row(int l, int64_t n, int r) const {
    return level(static_cast<int>(n / f.n), l) + (n % f.n * f.heads + r) * kPerHead;
  }

  METVOX_HD double level_overlap(int l, double* c) const {
    const int64_t groups = f.over_batch ? 1 : samples();  // over which overlaps are averaged
    const double weight = f.weights[l], share = 1.0 / static_cast<double>(groups * (f.heads - f.first_head));
    const int64_t own = f.rank * f.n;  // this rank's first sample
    double all = 0;
    for (int64_t i = 0; i < 2 * f.n * f.heads; ++i) c[i] = 0;
    for (int64_t g = 0; g < groups; ++g)
      for (int r = f.first_head; r < f.heads; ++r) {
        const int64_t begin = f.over_batch ? 0 : g, end = f.over_batch ? samples() : g + 1;
        double intersection = 0, prediction = 0, truth = 0;
        for (int64_t n = begin; n < end; ++n) {
          const double* s = row(l, n, r);
          intersection += s[0];
          prediction += s[1];
          truth += s[2];
        }
        const OverlapRatio& o = f.overlap;
        const double top = o.top_i * intersection + o.top_0;
        const double sum = o.bottom_i * intersection + o.bottom_p * prediction + o.bottom_g * truth + o.bottom_0;
        const bool floored = sum <= o.floor;
        const double bottom = floored ? o.floor : sum, slope = floored ? 0 : top / (bottom * bottom);
        all += share * (o.base - top / bottom);
        for (int64_t n = begin; n < end; ++n) {
          if (n < own || n >= own + f.n) continue;
          double* of_head = c + 2 * ((n - own) * f.heads + r);
          of_head[0] = weight * share * (slope * o.bottom_i - o.top_i / bottom);
          of_head[1] = weight * share * slope * o.bottom_p;
        }
      }
    return all;
  }

  METVOX_HD double level_voxel(int l, double* c) const {
    double sum = 0, terms = 0;
    for (int rank = 0; rank < f.ranks; ++rank) {
      const double* voxel = level(rank, l) + f.n * f.heads * kPerHead;
      sum += voxel[0];
      terms += voxel[1];
    }
    const double count = f.voxel_term_per_voxel ? terms / f.heads : terms, summands = count > 1 ? count : 1;
    c[2 * f.n * f.heads] = f.weights[l] / summands;
    return sum / summands;
  }
};

}  // namespace metvox
