// SPDX-License-Identifier: Apache-2.0
#include "layers/optimizer.h"

#include <cmath>

#include "kernels/pointwise.h"
#include "layers/named.h"

namespace metvox {
namespace {

std::map<std::string, MakeOptimizer>& registry() {
  static std::map<std::string, MakeOptimizer> all;
  return all;
}

}  // namespace

OptimizerEntry::OptimizerEntry(std::string name, MakeOptimizer make) { registry().emplace(std::move(name), make); }
const std::map<std::string, MakeOptimizer>& optimizers() { return registry(); }

std::unique_ptr<Optimizer> make_optimizer(const std::string& name, const ParameterStore& store,
                                          const OptimizerOptions& options) {
  return find_named(registry(), "optimizer", name)(store, options);
}

double polynomial_lr(double lr0, int64_t epoch, int64_t epochs) {
  return lr0 * std::pow(1 - static_cast<double>(epoch) / static_cast<double>(epochs), 0.9);
}

Optimizer::Optimizer(const ParameterStore& store, const OptimizerOptions& options)
    : options_(options), control_(Tensor::zeros({int64_t{sizeof(StepControl)}}, DType::u8, store.device(), "control")) {
  StepControl first;
  if (options.rules.adapt_loss_scale) first.loss_scale = 65536;
  write(first);
}

void Optimizer::set_lr(Stream& stream, double lr) {
  fill(stream, {&on_device()->lr, {1}, DType::f64, control_.device()}, lr);
}

void Optimizer::step(Stream& stream, ParameterStore& store, const std::vector<Range>& trained) {
  measure_gradients(stream, store.grads(), trained, options_.rules, on_device());
  update(stream, store, trained, on_device());
  store.changed();
}

StepControl Optimizer::control(Stream& stream) const {
  StepControl c;
  transfer(stream, control_.view(), {&c, control_.shape(), DType::u8});
  return c;
}

View Optimizer::loss_scale() const { return {&on_device()->loss_scale, {1}, DType::f64, control_.device()}; }

int64_t Optimizer::steps() const {
  Stream stream(control_.device());
  return control(stream).steps;
}

void Optimizer::set_steps(int64_t steps) {
  Stream stream(control_.device());
  StepControl c = control(stream);
  c.steps = steps;
  write(c);
}

void Optimizer::write(const StepControl& control) {
  Stream stream(control_.device());
  StepControl c = control;
  transfer(stream, {&c, control_.shape(), DType::u8}, control_.view());
}

}  // namespace metvox
