// SPDX-License-Identifier: Apache-2.0
// adam: Adam with the decay added to the gradient, as torch.optim.Adam.
#include "layers/optimizer.h"

namespace metvox {
namespace {

class AdamOptimizer final : public Optimizer {
 public:
  AdamOptimizer(const ParameterStore& store, const OptimizerOptions& options)
      : Optimizer(store, options),
        first_(Tensor::zeros({store.size()}, store.master(), store.device(), "exp_avg")),
        second_(Tensor::zeros({store.size()}, store.master(), store.device(), "exp_avg_sq")) {}
  std::vector<std::pair<std::string, Tensor>> state() const override {
    return {{"exp_avg", first_}, {"exp_avg_sq", second_}};
  }

 private:
  void update(Stream& stream, const ParameterStore& store, const std::vector<Range>& trained,
              const StepControl* control) override {
    Adam a;
    a.eps = options_.eps;
    a.weight_decay = options_.weight_decay;
    adam(stream, store.values(), store.grads(), first_.view(), second_.view(), trained, a, control);
  }
  Tensor first_, second_;
};

const OptimizerEntry entry{"adam",
                           [](const ParameterStore& s, const OptimizerOptions& o) -> std::unique_ptr<Optimizer> {
                             return std::make_unique<AdamOptimizer>(s, o);
                           }};

}  // namespace
}  // namespace metvox
