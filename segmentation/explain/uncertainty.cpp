// SPDX-License-Identifier: Apache-2.0
#include "segmentation/explain/uncertainty.h"

#include <algorithm>
#include <cmath>

#include "tensor/threads.h"

namespace metvox {

Tensor foreground_probabilities(const Tensor& logits, const Labels& labels) {
  const Shape& n = logits.shape();
  const int64_t heads = n[0], voxels = n[1] * n[2] * n[3], first = labels.has_regions() ? 0 : 1;  // 0 is background
  const Tensor out = Tensor::empty({heads - first, n[1], n[2], n[3]}, DType::f32);
  const float* z = logits.data<float>();
  float* p = out.data<float>();
  parallel_for(voxels, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (first == 0) {
        for (int64_t r = 0; r < heads; ++r) p[r * voxels + i] = 1 / (1 + std::exp(-z[r * voxels + i]));
        continue;
      }
      float most = z[i], sum = 0;
      for (int64_t r = 1; r < heads; ++r) most = std::max(most, z[r * voxels + i]);
      for (int64_t r = 0; r < heads; ++r) sum += std::exp(z[r * voxels + i] - most);
      for (int64_t r = 1; r < heads; ++r) p[(r - 1) * voxels + i] = std::exp(z[r * voxels + i] - most) / sum;
    }
  });
  return out;
}

double entropy_bits(double p) {
  const auto part = [](double q) { return q > 0 ? -q * std::log2(q) : 0.0; };
  return part(p) + part(1 - p);
}

Uncertainty uncertainty_of(Predictor& predictor, const Tensor& data, const Labels& labels,
                           const std::function<void(int64_t, int64_t)>& progress) {
  const Shape shape{static_cast<int64_t>(labels.foreground().size()), data.shape()[1], data.shape()[2],
                    data.shape()[3]};
  const Tensor fold = Tensor::zeros(shape, DType::f32), sum = Tensor::zeros(shape, DType::f32),
               squares = Tensor::zeros(shape, DType::f32);
  Tensor mean_logits = Tensor::zeros({predictor.heads(), shape[1], shape[2], shape[3]}, DType::f32);
  float *f = fold.data<float>(), *s = sum.data<float>(), *q = squares.data<float>();
  const std::vector<Predictor::Member> members = predictor.members();
  const auto folds = static_cast<float>(members.back().fold + 1);
  const float mirrors = static_cast<float>(members.size()) / folds;
  const auto each = [](int64_t size, auto&& do_at) {
    parallel_for(size, 4096, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) do_at(i);
    });
  };
  for (size_t m = 0; m < members.size(); ++m) {
    const Tensor logits = predictor.logits(data, members[m], [&](int64_t done, int64_t total) {
      progress(static_cast<int64_t>(m) * total + done, static_cast<int64_t>(members.size()) * total);
    });
    const Tensor p = foreground_probabilities(logits, labels);
    each(logits.size(), [&](int64_t i) {
      mean_logits.data<float>()[i] += logits.data<float>()[i] / static_cast<float>(members.size());
    });
    each(sum.size(), [&](int64_t i) { f[i] += p.data<float>()[i] / mirrors; });
    if (m + 1 < members.size() && members[m + 1].fold == members[m].fold) continue;
    each(sum.size(), [&](int64_t i) {
      s[i] += f[i];
      q[i] += f[i] * f[i];
      f[i] = 0;
    });
  }
  each(sum.size(), [&](int64_t i) {
    const float mean = s[i] / folds;
    s[i] = mean;
    f[i] = static_cast<float>(entropy_bits(mean));
    q[i] = folds > 1 ? std::sqrt(std::max(0.f, q[i] / folds - mean * mean)) : 0;
  });
  return {mean_logits, sum, fold, squares};
}

}  // namespace metvox
