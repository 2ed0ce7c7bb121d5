// SPDX-License-Identifier: Apache-2.0
#include "autograd/ops/weighted_sum.h"

#include "kernels/pointwise.h"
#include "tensor/random.h"

namespace metvox {
namespace {

class PreparedWeightedSum final : public Prepared {
 public:
  explicit PreparedWeightedSum(const Setting& setting) {
    const Tensor host = Tensor::empty(setting.x[0].shape, DType::f32);
    Random random(1, 1);
    for (int64_t i = 0; i < host.size(); ++i) host.data<float>()[i] = static_cast<float>(random.below(9) - 4) / 4;
    weights_ = host.to(setting.target.device);
  }
  Work work(Pass) const override { return {"native"}; }
  void forward(const Step& s) const override { metvox::weighted_sum(s.stream, s.x[0], weights_.view(), s.y); }
  void backward(const Step& s) const override {
    weighted_sum_backward(s.stream, weights_.view(), s.dy, s.dx[0], s.grad[0]);
  }

 private:
  Tensor weights_;
};

class WeightedSum final : public Op {
 public:
  std::string_view name() const override { return "weighted_sum"; }
  ValueSpec infer(std::span<const ValueSpec>) const override { return {{1}, Kind::result}; }
  bool reads_input(int) const override { return false; }
  std::unique_ptr<Prepared> prepare(const Setting& setting) const override {
    return std::make_unique<PreparedWeightedSum>(setting);
  }
};

}  // namespace

Value weighted_sum(Value x) { return x.graph->add(std::make_shared<WeightedSum>(), {x}); }

}  // namespace metvox
