// SPDX-License-Identifier: Apache-2.0
// Optimizers over a store's flat buffers, with gradient clipping, found by name; the polynomial schedule.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/optimize.h"
#include "layers/parameter.h"

namespace metvox {

// lr0 (1 - epoch / epochs)^0.9
double polynomial_lr(double lr0, int64_t epoch, int64_t epochs);

struct OptimizerOptions {
  double momentum = 0.99, weight_decay = 3e-5, eps = 1e-8;
  StepRules rules = {};
};

// Everything of a step stays on the parameters' device.
class Optimizer {
 public:
  Optimizer(const ParameterStore&, const OptimizerOptions&);
  virtual ~Optimizer() = default;
  // Of the steps from now on.
  void set_lr(Stream&, double lr);
  // Measures and clips the gradients in the ranges, steps on the values (unless a gradient is not finite), calls
  // store.changed().
  void step(Stream&, ParameterStore&, const std::vector<Range>& trained);
  // The last step's numbers; waits for the device.
  StepControl control(Stream&) const;
  // What a program's backward begins with: the loss scale, f64 (1).
  View loss_scale() const;
  // State for checkpoints: flat buffers of the store's size by name ("momentum"), on its device; and the steps taken.
  virtual std::vector<std::pair<std::string, Tensor>> state() const = 0;
  int64_t steps() const;
  void set_steps(int64_t steps);

 protected:
  virtual void update(Stream&, const ParameterStore&, const std::vector<Range>& trained, const StepControl*) = 0;
  const OptimizerOptions options_;

 private:
  StepControl* on_device() const { return static_cast<StepControl*>(control_.view().data); }
  void write(const StepControl& control);
  Tensor control_;  // one StepControl
};

using MakeOptimizer = std::unique_ptr<Optimizer> (*)(const ParameterStore&, const OptimizerOptions&);
// const OptimizerEntry entry{"sgd", make}; in the optimizer's own file.
struct OptimizerEntry {
  OptimizerEntry(std::string name, MakeOptimizer make);
};
const std::map<std::string, MakeOptimizer>& optimizers();
std::unique_ptr<Optimizer> make_optimizer(const std::string& name, const ParameterStore&, const OptimizerOptions&);

}  // namespace metvox
