// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/metrics.h"

#include <cstring>
#include <numeric>

#include "segmentation/evaluation/mask.h"

namespace metvox {

namespace {

std::array<bool, 256> membership(const LabelTarget& region) {
  std::array<bool, 256> inside{};
  for (int label : region.labels)
    if (label >= 0 && label < 256) inside[label] = true;
  return inside;
}

}  // namespace

std::vector<LabelTarget> metastasis_regions() {
  LabelTarget whole{"wt", std::vector<int>(255)};
  std::iota(whole.labels.begin(), whole.labels.end(), 1);
  return {{"et", {3}}, {"tc", {1, 3}}, whole};
}

LabelPairs::LabelPairs(const Tensor& prediction, const Tensor& truth) : pairs_(256 * 256) {
  check(prediction.shape() == truth.shape(), "LabelPairs: volumes of ", prediction.shape(), " and ", truth.shape());
  const uint8_t *p = prediction.data<uint8_t>(), *t = truth.data<uint8_t>();
  int64_t labelled = 0;  // mostly neither has a label, which costs less to see than to count
  for (int64_t i = 0, n = truth.size(); i < n; ++i) {
    uint64_t eight_p, eight_t;
    if (i + 8 <= n) {
      std::memcpy(&eight_p, p + i, 8);
      std::memcpy(&eight_t, t + i, 8);
      if ((eight_p | eight_t) == 0) {
        i += 7;
        continue;
      }
    }
    ++pairs_[p[i] * 256 + t[i]];
    ++labelled;
  }
  pairs_[0] += truth.size() - labelled;
}

Counts LabelPairs::counts(const LabelTarget& region, int ignore_label) const {
  const std::array<bool, 256> inside = membership(region);
  Counts c;
  for (int p = 0; p < 256; ++p)
    for (int t = 0; t < 256; ++t) {
      if (t == ignore_label) continue;
      (inside[p] ? (inside[t] ? c.tp : c.fp) : (inside[t] ? c.fn : c.tn)) += pairs_[p * 256 + t];
    }
  return c;
}

Tensor region_mask(const Tensor& labels, const LabelTarget& region) {
  const std::array<bool, 256> inside = membership(region);
  check(!inside[0], "region_mask: ", region.name, " holds the background");
  Tensor mask = Tensor::zeros(labels.shape(), DType::u8);
  const uint8_t* in = labels.data<uint8_t>();
  uint8_t* out = mask.data<uint8_t>();
  for_each_nonzero(in, mask.size(), [&](int64_t i) { out[i] = inside[in[i]]; });
  return mask;
}

}  // namespace metvox
