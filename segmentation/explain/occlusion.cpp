// SPDX-License-Identifier: Apache-2.0
#include "segmentation/explain/occlusion.h"

#include <algorithm>
#include <cmath>

namespace metvox {

namespace {

constexpr double kLeastEdge_mm = 8;

struct Boxes {
  Int3 edge{};
  std::vector<CropBox> all;
};

Boxes boxes_over(const CropBox& lesion, const Int3& patch, const Double3& spacing_mm) {
  double edge_mm = kLeastEdge_mm;
  for (int a = 0; a < 3; ++a)
    edge_mm = std::max(edge_mm, static_cast<double>(lesion.last[a] - lesion.first[a]) * spacing_mm[a] / 2);
  Boxes boxes;
  std::array<std::vector<int64_t>, 3> starts;
  for (int a = 0; a < 3; ++a) {
    const int64_t edge = boxes.edge[a] = std::max<int64_t>(1, std::llround(edge_mm / spacing_mm[a]));
    const int64_t end = std::min(lesion.last[a], patch[a] - 1);
    for (int64_t s = lesion.first[a] - edge; s <= end; s += std::max<int64_t>(1, edge / 2)) starts[a].push_back(s);
  }
  for (const int64_t z : starts[0])
    for (const int64_t y : starts[1])
      for (const int64_t x : starts[2]) {
        CropBox box{{z, y, x}, {z + boxes.edge[0], y + boxes.edge[1], x + boxes.edge[2]}};
        for (int a = 0; a < 3; ++a) {
          box.first[a] = std::max<int64_t>(0, box.first[a]);
          box.last[a] = std::min(patch[a], box.last[a]);
        }
        if (!is_empty(box)) boxes.all.push_back(box);
      }
  return boxes;
}

template <class F>
void for_each_voxel(const CropBox& box, const Int3& patch, F&& f) {
  for (int64_t z = box.first[0]; z < box.last[0]; ++z)
    for (int64_t y = box.first[1]; y < box.last[1]; ++y)
      for (int64_t x = box.first[2]; x < box.last[2]; ++x) f((z * patch[1] + y) * patch[2] + x);
}

// Of a sigmoid the logit; of a label among others log p - log(1 - p), since a softmax only knows differences of logits.
double mean_log_odds(const Tensor& logits, const LesionWindow& window, const Labels& labels, size_t region) {
  const int64_t voxels = window.mask.size(), heads = logits.shape()[0];
  const int64_t head = static_cast<int64_t>(region) + (labels.has_regions() ? 0 : 1);
  double sum = 0;
  for (int64_t i = 0; i < voxels; ++i) {
    if (!window.mask.data<uint8_t>()[i]) continue;
    const auto logit = [&](int64_t h) { return static_cast<double>(logits.data<float>()[h * voxels + i]); };
    sum += logit(head);
    if (labels.has_regions()) continue;
    double most = -INFINITY, others = 0;
    for (int64_t h = 0; h < heads; ++h)
      if (h != head) most = std::max(most, logit(h));
    for (int64_t h = 0; h < heads; ++h)
      if (h != head) others += std::exp(logit(h) - most);
    sum -= most + std::log(others);
  }
  return sum / static_cast<double>(window.voxels);
}

}  // namespace

Occlusion occlusion_of(Predictor& predictor, const LesionWindow& window, const Labels& labels, size_t region,
                       const Double3& spacing_mm, const std::function<void(int64_t, int64_t)>& progress) {
  const Shape& n = window.data.shape();
  const Int3 patch{n[1], n[2], n[3]};
  const int64_t voxels = volume(patch), channels = n[0];
  const Boxes boxes = boxes_over(window.box, patch, spacing_mm);
  const auto folds = static_cast<double>(predictor.members().back().fold + 1);
  const int64_t total = static_cast<int64_t>(folds) * (1 + channels + static_cast<int64_t>(boxes.all.size()));
  int64_t done = 0;
  Occlusion result{0, Tensor::zeros({patch[0], patch[1], patch[2]}, DType::f32),
                   std::vector<double>(static_cast<size_t>(channels)), boxes.edge};
  Tensor covered = Tensor::empty(n, DType::f32);
  float *x = covered.data<float>(), *lost = result.lost.data<float>();
  for (size_t fold = 0; fold < static_cast<size_t>(folds); ++fold) {
    // Logits with the box covered in the channels from first to last.
    const auto answer = [&](int64_t first, int64_t last, const CropBox& box) {
      std::copy_n(window.data.data<float>(), covered.size(), x);
      for (int64_t c = first; c < last; ++c) for_each_voxel(box, patch, [&](int64_t i) { x[c * voxels + i] = 0; });
      const Tensor logits = predictor.logits(covered, Predictor::Member{fold, 0}, [](int64_t, int64_t) {});
      progress(++done, total);
      return mean_log_odds(logits, window, labels, region);
    };
    const double whole = answer(0, 0, {});
    result.log_odds += whole / folds;
    for (int64_t c = 0; c < channels; ++c)
      result.lost_without[static_cast<size_t>(c)] += (whole - answer(c, c + 1, {{0, 0, 0}, patch})) / folds;
    for (const CropBox& box : boxes.all) {
      const auto drop = static_cast<float>((whole - answer(0, channels, box)) / folds);
      for_each_voxel(box, patch, [&](int64_t i) { lost[i] += drop; });
    }
  }
  std::vector<int> covers(static_cast<size_t>(voxels));
  for (const CropBox& box : boxes.all) for_each_voxel(box, patch, [&](int64_t i) { ++covers[static_cast<size_t>(i)]; });
  for (int64_t i = 0; i < voxels; ++i) lost[i] /= static_cast<float>(std::max(1, covers[static_cast<size_t>(i)]));
  return result;
}

}  // namespace metvox
