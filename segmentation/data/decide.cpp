// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/decide.h"

#include "segmentation/data/restore_rows.h"

namespace metvox {

LabelDecision::LabelDecision(const Labels& labels, float threshold)
    : regions_(labels.has_regions()), threshold_(threshold) {
  if (regions_) written_.assign(labels.regions_class_order.begin(), labels.regions_class_order.end());
  else
    for (const LabelTarget& head : labels.heads()) written_.push_back(static_cast<uint8_t>(head.labels[0]));
}

void LabelDecision::operator()(const float* const* rows, int64_t n, uint8_t* out) const {
  const auto heads = static_cast<int64_t>(written_.size());
  if (regions_) METVOX_ISA_CALL(last_above)(rows, heads, written_.data(), threshold_, n, out);
  else METVOX_ISA_CALL(first_of_highest)(rows, heads, written_.data(), n, out);
}

}  // namespace metvox
