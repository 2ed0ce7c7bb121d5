// SPDX-License-Identifier: Apache-2.0
// What the batches of an epoch add up to.
#pragma once
#include <cmath>

#include "segmentation/training/learner.h"

namespace metvox {

// Sums over the batches of an epoch.
struct Tally {
  double loss = 0;
  int64_t batches = 0;
  std::vector<double> tp, fp, fn;

  void add(const StepResult& r) {
    loss += r.loss;
    ++batches;
    tp.resize(r.tp.size());
    fp.resize(r.tp.size());
    fn.resize(r.tp.size());
    for (size_t i = 0; i < r.tp.size(); ++i) {
      tp[i] += r.tp[i];
      fp[i] += r.fp[i];
      fn[i] += r.fn[i];
    }
  }
  double mean_loss() const { return loss / static_cast<double>(batches); }
  std::vector<double> dice() const {
    std::vector<double> out;
    for (size_t i = 0; i < tp.size(); ++i) out.push_back(2 * tp[i] / (2 * tp[i] + fp[i] + fn[i]));
    return out;
  }
};

// The mean of those that are numbers; NaN without any.
inline double nan_mean(const std::vector<double>& values) {
  double sum = 0, count = 0;
  for (double v : values)
    if (!std::isnan(v)) {
      sum += v;
      ++count;
    }
  return sum / count;
}

}  // namespace metvox
