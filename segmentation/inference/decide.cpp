// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/decide.h"

namespace metvox {

void decide_labels(const float* heads, int64_t n, const Labels& labels, float threshold, uint8_t* out) {
  const bool regions = labels.has_regions();
  std::vector<uint8_t> written;
  if (regions) written.assign(labels.regions_class_order.begin(), labels.regions_class_order.end());
  else
    for (const LabelTarget& head : labels.heads()) written.push_back(static_cast<uint8_t>(head.labels[0]));
  const auto count = static_cast<int64_t>(written.size());
  for (int64_t i = 0; i < n; ++i) {
    int64_t best = 0;
    uint8_t label = 0;
    for (int64_t h = 0; h < count; ++h) {
      if (regions && heads[h * n + i] > threshold) label = written[static_cast<size_t>(h)];
      if (heads[h * n + i] > heads[best * n + i]) best = h;
    }
    out[i] = regions ? label : written[static_cast<size_t>(best)];
  }
}

}  // namespace metvox
