// SPDX-License-Identifier: Apache-2.0
#include "layers/optimizer.h"

#include <cmath>

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

double clip_factor(Stream& stream, const ParameterStore& store, const std::vector<Range>& trained, double max_norm,
                   double* norm) {
  *norm = std::sqrt(squared_norm(stream, store.grads(), trained));
  return std::min(1.0, max_norm / (*norm + 1e-6));
}

}  // namespace metvox
