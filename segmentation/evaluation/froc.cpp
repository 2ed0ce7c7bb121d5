// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/froc.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "segmentation/evaluation/components.h"
#include "segmentation/evaluation/mask.h"

namespace metvox {

namespace {

Tensor reaches(const Tensor& probability, double threshold) {
  Tensor mask = Tensor::empty(probability.shape(), DType::u8);
  const auto least = static_cast<float>(threshold);
  std::transform(probability.data<float>(), probability.data<float>() + probability.size(), mask.data<uint8_t>(),
                 [least](float p) { return p >= least; });
  return mask;
}

}  // namespace

void Froc::add(const Tensor& probability, const Tensor& truth) {
  check(probability.shape() == truth.shape(), "Froc: probabilities of ", probability.shape(), ", truth of ",
        truth.shape());
  // Below the lowest threshold nothing can be found, nor be false.
  const CropBox box = joined(bounding_box(reaches(probability, kFrocThresholds.front())), bounding_box(truth));
  ++cases;
  for (size_t i = 0; i < points.size(); ++i) points[i].threshold = kFrocThresholds[i];
  if (is_empty(box)) return;
  const Tensor p = cropped(probability, box), t = cropped(truth, box);
  const Components lesions_there = find_components(t);
  std::vector<float> highest(lesions_there.components.size(), -1);
  for_each_nonzero(t.data<uint8_t>(), t.size(), [&](int64_t i) {
    float& h = highest[static_cast<size_t>(lesions_there.index.data<int32_t>()[i] - 1)];
    h = std::max(h, p.data<float>()[i]);
  });
  lesions += static_cast<int64_t>(highest.size());
  for (FrocPoint& point : points) {
    const auto least = static_cast<float>(point.threshold);
    point.found += std::count_if(highest.begin(), highest.end(), [least](float h) { return h >= least; });
    const Tensor mask = reaches(p, point.threshold);
    const Components predicted = find_components(mask);
    std::vector<bool> touches(predicted.components.size());
    for_each_nonzero(t.data<uint8_t>(), t.size(), [&](int64_t i) {
      if (const int32_t k = predicted.index.data<int32_t>()[i]) touches[static_cast<size_t>(k - 1)] = true;
    });
    point.false_positives += std::count(touches.begin(), touches.end(), false);
  }
}

Tensor region_probability(const Tensor& heads, const Labels& labels, const LabelTarget& region) {
  const std::vector<LabelTarget> targets = labels.heads();
  const Shape& n = heads.shape();
  check(n.rank() == 4 && n[0] == static_cast<int64_t>(targets.size()), "region_probability: ", targets.size(),
        " heads, a tensor of ", n);
  const auto head = [&](size_t h) { return heads.slice(static_cast<int64_t>(h), 1).reshape({n[1], n[2], n[3]}); };
  const auto same = [&](const LabelTarget& target) {
    return std::is_permutation(target.labels.begin(), target.labels.end(), region.labels.begin(), region.labels.end());
  };
  if (const auto found = std::find_if(targets.begin(), targets.end(), same); found != targets.end())
    return head(static_cast<size_t>(found - targets.begin()));
  if (labels.has_regions()) return {};
  Tensor sum = Tensor::zeros({n[1], n[2], n[3]}, DType::f32);
  size_t summed = 0;
  for (size_t h = 0; h < targets.size(); ++h) {
    if (std::find(region.labels.begin(), region.labels.end(), targets[h].labels[0]) == region.labels.end()) continue;
    ++summed;
    const Tensor p = head(h);
    std::transform(sum.data<float>(), sum.data<float>() + sum.size(), p.data<float>(), sum.data<float>(),
                   std::plus<>());
  }
  return summed == region.labels.size() ? sum : Tensor();
}

}  // namespace metvox
