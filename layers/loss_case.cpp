// SPDX-License-Identifier: Apache-2.0
#include "layers/loss_case.h"

namespace metvox {

OpCase loss_case(const std::string& loss, const std::string& name, Use use, const Shape& labels) {
  OpCase c{"segmentation_loss", loss + " " + name, use};
  c.terms = c.gradient_terms = static_cast<double>(labels.size());
  c.values = 3.5 * static_cast<double>(labels.size());
  c.build = [loss, labels](CaseBuilder& make) {
    const SegmentationLoss& kind = find_loss(loss);
    RegionTable heads;
    heads.count = kind.softmax ? 4 : 3;
    heads.labels = kind.softmax ? decltype(heads.labels){1, 2, 4, 8} : decltype(heads.labels){0b1110, 0b1010, 0b1000};
    const DeepSupervision levels = DeepSupervision::halving(4);
    std::vector<Value> logits;
    for (size_t l = 0; l < levels.weights.size(); ++l) {
      auto extent = [&](int axis) { return (labels[axis] + (int64_t{1} << l) - 1) >> l; };
      logits.push_back(
          make.activation("logits" + std::to_string(l), {labels[0], heads.count, extent(1), extent(2), extent(3)}));
    }
    return segmentation_loss(logits, make.labels("labels", labels, 4), kind, heads, levels, kind.over_batch);
  };
  return c;
}

}  // namespace metvox
