// SPDX-License-Identifier: Apache-2.0
#include "autograd/ops/weighted_sum.h"

#include "kernels/pointwise.h"
#include "tensor/random.h"

namespace metvox {
namespace {

// The weights that are not an input.
Tensor quarters(const Setting& setting) {
  const Tensor host = Tensor::empty(setting.x[0].shape, DType::f32);
  Random random(1, 1);
  for (int64_t i = 0; i < host.size(); ++i) host.data<float>()[i] = static_cast<float>(random.below(9) - 4) / 4;
  return host.to(setting.target.device);
}

class PreparedWeightedSum final : public Prepared {
 public:
  explicit PreparedWeightedSum(const Tensor& weights) : weights_(weights) {}
  Work work(Pass) const override { return {"native"}; }
  void forward(const Step& s) const override { metvox::weighted_sum(s.stream, s.x[0], weights(s), s.y); }
  void backward(const Step& s) const override { weighted_sum_backward(s.stream, weights(s), s.dy, s.dx[0], s.grad[0]); }

 private:
  View weights(const Step& s) const { return weights_ ? weights_.view() : s.x[1]; }
  Tensor weights_;
};

class WeightedSum final : public Op {
 public:
  std::string_view name() const override { return "weighted_sum"; }
  ValueSpec infer(std::span<const ValueSpec> x) const override {
    check(x.size() == 1 || (x[1].shape == x[0].shape && x[1].kind == Kind::result), "weighted_sum: x ", x[0].shape,
          ", weights ", x.back().shape);
    return {{1}, Kind::result};
  }
  bool reads_input(int input) const override { return input == 1; }
  std::unique_ptr<Prepared> prepare(const Setting& setting) const override {
    if (setting.x.size() == 1) return std::make_unique<PreparedWeightedSum>(quarters(setting));
    check(setting.x[1].dtype == DType::f32, "weighted_sum: weights are ", name_of(setting.x[1].dtype), ", not f32");
    return std::make_unique<PreparedWeightedSum>(Tensor());
  }
};

}  // namespace

Value weighted_sum(Value x) { return x.graph->add(std::make_shared<WeightedSum>(), {x}); }
Value weighted_sum(Value x, Value weights) { return x.graph->add(std::make_shared<WeightedSum>(), {x, weights}); }

}  // namespace metvox
