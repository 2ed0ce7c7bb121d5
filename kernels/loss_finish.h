// SPDX-License-Identifier: Apache-2.0
// Between a loss's two phases: from the sums of all levels to the loss's terms, the decided voxels, and the
// coefficients of phase two. One body for every device: a few hundred numbers, one thread.
//   sums: for each rank, of each level one block of SegmentationLossProblem::sums_count() doubles; coefficients: of
//   each level one block of coefficients_count(), for this rank's samples; y (3 + 3 R), f32 or f64: total, overlap,
//   voxel, TP_0..., FP_0..., FN_0..., the last three lists of level 0.
// The loss is that of the samples of all ranks: gradients added over ranks are its gradient.
#pragma once
#include <array>

#include "kernels/segmentation_loss.h"

namespace metvox {

// An overlap term of one head as a ratio of the sums I, P, G:
//   base - (top_i I + top_0) / max(bottom_i I + bottom_p P + bottom_g G + bottom_0, floor)
struct OverlapRatio {
  double base = 0;
  double top_i = 0, top_0 = 0;
  double bottom_i = 0, bottom_p = 0, bottom_g = 0, bottom_0 = 0;
  double floor = 0;
};

struct LossFinish {
  static constexpr int kMaxLevels = 8;
  int levels = 0, heads = 0;
  int64_t n = 1;                             // samples of each rank
  int ranks = 1, rank = 0;                   // of so many, this one
  std::array<double, kMaxLevels> weights{};  // of each level
  OverlapRatio overlap;
  bool over_batch = false;            // one overlap for all samples of all ranks instead of one each
  int first_head = 0;                 // heads before it have no overlap term
  bool voxel_term_per_voxel = false;  // divided by voxels instead of by summands, of which each head has one
};

void finish_loss(Stream&, const LossFinish&, const double* sums, double* coefficients, View y);

}  // namespace metvox
