// SPDX-License-Identifier: Apache-2.0
// Losses, found by name because plans and command lines name them. A loss is an overlap term on sums over voxels and a
// voxel term (BCE or CE), the same at every level of deep supervision; see kernels/segmentation_loss.h and
// kernels/loss_finish.h.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "autograd/graph.h"
#include "kernels/loss_finish.h"

namespace metvox {

struct SegmentationLoss {
  bool softmax = false;        // exclusive labels: softmax and cross-entropy; else sigmoid and BCE
  double positive_weight = 0;  // BCE times 1 + positive_weight * g
  OverlapRatio overlap{};
  bool over_batch = false;            // does a plan's batch_dice apply?
  bool overlap_of_first_head = true;  // false: the background head has no overlap term
};

// const LossEntry entry{"dice-bce", {...}}; in the loss's own file.
struct LossEntry {
  LossEntry(std::string name, SegmentationLoss loss);
};
const std::map<std::string, SegmentationLoss>& losses();
// Throws Error (Fault::usage) that lists the names there are.
const SegmentationLoss& find_loss(const std::string& name);

struct DeepSupervision {
  std::vector<double> weights;  // one a level, highest resolution first, none zero, summing to 1
  // nnU-Net: 1/2^i for `outputs` levels, the last one 0 (when there are two or more) and left out here, normalised.
  static DeepSupervision halving(int outputs);
};

// The loss of all levels as one op. logits: highest resolution first, one a weight; labels u8 (N, D, H, W) of kind
// labels. Output: result (3 + 3 R) [total, overlap, voxel, TP_0..., FP_0..., FN_0...], the last three lists of level 0.
// Where the target has ranks, all of it is of the samples of all of them.
Value segmentation_loss(const std::vector<Value>& logits, Value labels, const SegmentationLoss& loss,
                        const RegionTable& heads, const DeepSupervision& levels, bool batch_dice,
                        int ignore_label = -1);

}  // namespace metvox
