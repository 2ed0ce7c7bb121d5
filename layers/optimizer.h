// SPDX-License-Identifier: Apache-2.0
// Optimizers over a store's flat buffers, found by name; the polynomial schedule; gradient clipping.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "layers/parameter.h"

namespace metvox {

// lr0 (1 - epoch / epochs)^0.9
double polynomial_lr(double lr0, int64_t epoch, int64_t epochs);

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // One step on the ranges, gradients times g_scale; calls store.changed().
  virtual void step(Stream&, ParameterStore&, const std::vector<Range>& trained, double lr, double g_scale) = 0;
  // State for checkpoints: flat buffers of the store's size by name ("momentum"), and a step count.
  virtual std::vector<std::pair<std::string, Tensor>> state() const = 0;
  int64_t steps = 0;
};

struct OptimizerOptions {
  double momentum = 0.99, weight_decay = 3e-5, eps = 1e-8;
};
using MakeOptimizer = std::unique_ptr<Optimizer> (*)(const ParameterStore&, const OptimizerOptions&);
// const OptimizerEntry entry{"sgd", make}; in the optimizer's own file.
struct OptimizerEntry {
  OptimizerEntry(std::string name, MakeOptimizer make);
};
const std::map<std::string, MakeOptimizer>& optimizers();
std::unique_ptr<Optimizer> make_optimizer(const std::string& name, const ParameterStore&, const OptimizerOptions&);

// The factor that brings the global L2 norm to at most max_norm: min(1, max_norm / (norm + 1e-6)). NaN or inf norms
// come back in *norm for the caller to refuse.
double clip_factor(Stream&, const ParameterStore&, const std::vector<Range>& trained, double max_norm, double* norm);

}  // namespace metvox
