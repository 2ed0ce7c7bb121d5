// SPDX-License-Identifier: Apache-2.0
#include "kernels/segmentation_loss.h"

#include "kernels/check_view.h"
#include "kernels/segmentation_loss_engines.h"

namespace metvox {

std::string SegmentationLossProblem::describe() const {
  const auto size = [](const Int3& e) { return sentence(e[0], 'x', e[1], 'x', e[2]); };
  return sentence("segmentation_loss n", n, " r", heads.count, ' ', size(extent), " of ", size(label_extent),
                  softmax ? " softmax " : " sigmoid ", name_of(dtype));
}

void SegmentationLossProblem::validate() const {
  for (int axis = 0; axis < 3; ++axis)
    check(extent[axis] > 0 && label_extent[axis] > 0, describe(), ": an extent is below 1");
  check(n > 0 && heads.count > 0 && heads.count <= RegionTable::kMaxHeads, describe(), ": 1 to ",
        RegionTable::kMaxHeads, " heads");
}

void SegmentationLossProblem::check_views(View logits, View label_map) const {
  check_view("segmentation_loss", "logits", logits, {n, heads.count, extent[0], extent[1], extent[2]}, dtype);
  check_view("segmentation_loss", "labels", label_map, {n, label_extent[0], label_extent[1], label_extent[2]},
             DType::u8);
}

const SegmentationLossTable& segmentation_loss() {
  static const SegmentationLossTable table(
      "segmentation_loss",
      {METVOX_DEVICE_ENGINES(segmentation_loss_native), native::segmentation_loss(), reference::segmentation_loss()});
  return table;
}

}  // namespace metvox
