// SPDX-License-Identifier: Apache-2.0
// A segmentation loss over one output resolution, in two phases, so that ranks can add their sums in between:
//   sums():     for each sample n and head r: I = sum p g, P = sum p, G = sum g, and TP, FP, FN of the decided voxels;
//               and the sum of the voxel term (BCE or CE) with the number of its summands
//   gradient(): dlogits = d(loss)/d(logits), given dL/dI and dL/dP for each (n, r) and the weight of one voxel term
// Sums and coefficients lie on the stream's device; kernels/loss_finish.h goes from the one to the other.
// p = sigmoid(z) (regions) or softmax(z) (exclusive labels, background among the heads). g comes from one u8 label map
// at full resolution: a head is a set of labels, a level reads label floor((o + 0.5) in / out). Nothing is one-hot in
// memory.
//   logits (N, R, D, H, W) channels-last in `dtype`   labels (N, D0, H0, W0) u8   sums double (see below)
// Voxel term: BCE(z, g) (1 + positive_weight g), one for each head; or -log p of the true label, one for each voxel
// that has a head. Voxels with `ignore_label` count nowhere and get gradient 0; a label of no head is outside every
// region. TP, FP, FN: region decided by z > 0, label by arg-max (first wins). A logit that is not a number makes its P
// so. Bitwise repeatable for one engine and instruction set. Source: nnU-Net's soft Dice, BCE and CE; MONAI's Tversky
// is a function of I, P and G.
#pragma once
#include <array>

#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox {

struct RegionTable {
  static constexpr int kMaxHeads = 64;
  int count = 0;
  std::array<uint64_t, kMaxHeads> labels{};  // bit l set: label l (below 64) belongs to the head

  METVOX_HD bool contains(int head, uint8_t label) const { return label < 64 && ((labels[head] >> label) & 1) != 0; }
};

struct SegmentationLossProblem {
  int64_t n = 1;
  Int3 extent{}, label_extent{};  // of the logits, of the label map
  RegionTable heads{};
  bool softmax = false;
  double positive_weight = 0;
  int ignore_label = -1;
  DType dtype = DType::f32;
  Device device{};
  std::string describe() const;  // "segmentation_loss n2 r3 48x48x48 of 96x96x96 softmax bf16"
  void validate() const;
  void check_views(View logits, View labels) const;
  DType master() const { return dtype == DType::f64 ? DType::f64 : DType::f32; }
  // Doubles written by sums(): n * heads.count rows of kPerHead, then voxel sum, number of its summands.
  static constexpr int kPerHead = 6;  // I, P, G, TP, FP, FN
  int64_t sums_count() const { return n * heads.count * kPerHead + 2; }
  int64_t coefficients_count() const { return 2 * n * heads.count + 1; }
  // The label voxel that position o of `axis` reads.
  METVOX_HD int64_t label_index(int axis, int64_t o) const {
    return (2 * o + 1) * label_extent[axis] / (2 * extent[axis]);
  }
};

class SegmentationLossKernel {
 public:
  virtual ~SegmentationLossKernel() = default;
  virtual size_t scratch_bytes() const { return 0; }
  virtual void sums(Stream&, View logits, View labels, double* sums, void* scratch) const = 0;
  // coefficients: for each (n, r) dL/dI then dL/dP, last dL/d(one summand of the voxel term); all are taken times dy,
  // which is (1) of the master type.
  virtual void gradient(Stream&, View logits, View labels, const double* coefficients, View dy, View dlogits, Grad,
                        void* scratch) const = 0;
};

using SegmentationLossTable = EngineTable<SegmentationLossProblem, SegmentationLossKernel>;
const SegmentationLossTable& segmentation_loss();

}  // namespace metvox
