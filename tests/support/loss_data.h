// SPDX-License-Identifier: Apache-2.0
// Heads and labels for tests of segmentation_loss.
#pragma once
#include "kernels/segmentation_loss.h"
#include "tensor/random.h"

namespace metvox::test {

// Head r: label r, and some heads another label as well where heads are regions.
inline RegionTable heads(int count, bool softmax) {
  RegionTable table;
  table.count = count;
  for (int r = 0; r < count; ++r)
    table.labels[r] = (uint64_t{1} << r) | (softmax ? 0 : uint64_t{1} << ((r * 7 + 3) % 64));
  return table;
}

// Labels of the heads and one beyond them; every tenth is rare, and of no head beyond 63.
inline Tensor mixed_labels(const SegmentationLossProblem& p, Random& random) {
  const Tensor labels = Tensor::empty({p.n, p.label_extent[0], p.label_extent[1], p.label_extent[2]}, DType::u8);
  const uint8_t rare[] = {63, 64, 200, 255};
  for (int64_t i = 0; i < labels.size(); ++i)
    labels.data<uint8_t>()[i] =
        random.below(10) == 0 ? rare[random.below(4)] : static_cast<uint8_t>(random.below(p.heads.count + 1));
  return labels;
}

}  // namespace metvox::test
