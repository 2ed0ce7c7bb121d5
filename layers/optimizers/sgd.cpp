// SPDX-License-Identifier: Apache-2.0
// sgd: stochastic gradient descent with Nesterov momentum, as torch.optim.SGD.
#include "layers/optimizer.h"

namespace metvox {
namespace {

class Sgd final : public Optimizer {
 public:
  Sgd(const ParameterStore& store, const OptimizerOptions& options)
      : Optimizer(store, options),
        momentum_(Tensor::zeros({store.size()}, store.master(), store.device(), "momentum")) {}
  std::vector<std::pair<std::string, Tensor>> state() const override { return {{"momentum", momentum_}}; }

 private:
  void update(Stream& stream, const ParameterStore& store, const std::vector<Range>& trained,
              const StepControl* control) override {
    sgd_nesterov(stream, store.values(), store.grads(), momentum_.view(), trained,
                 {options_.momentum, options_.weight_decay}, control);
  }
  Tensor momentum_;
};

const OptimizerEntry entry{"sgd", [](const ParameterStore& s, const OptimizerOptions& o) -> std::unique_ptr<Optimizer> {
                             return std::make_unique<Sgd>(s, o);
                           }};

}  // namespace
}  // namespace metvox
