// SPDX-License-Identifier: Apache-2.0
#include "autograd/ops/weighted_sum.h"

#include "tensor/random.h"

namespace metvox {
namespace {

double weight(Random& random) { return static_cast<double>(random.below(9) - 4) / 4; }

class PreparedWeightedSum final : public Prepared {
 public:
  void forward(const Step& s) const override {
    Random random(1, 1);
    double sum = 0;
    dispatch_float(s.x[0].dtype, [&]<class T>() {
      const T* x = s.x[0].as<T>();
      for (int64_t i = 0; i < s.x[0].size(); ++i)
        sum += weight(random) * static_cast<double>(static_cast<Wide<T>>(x[i]));
    });
    if (s.y.dtype == DType::f64) s.y.as<double>()[0] = sum;
    else s.y.as<float>()[0] = static_cast<float>(sum);
  }
  void backward(const Step& s) const override {
    if (s.grad[0] == Grad::ignore) return;
    const double dy = s.dy.dtype == DType::f64 ? s.dy.as<double>()[0] : static_cast<double>(s.dy.as<float>()[0]);
    Random random(1, 1);
    dispatch_float(s.dx[0].dtype, [&]<class T>() {
      T* dx = s.dx[0].as<T>();
      for (int64_t i = 0; i < s.dx[0].size(); ++i) {
        const auto term = static_cast<Wide<T>>(weight(random) * dy);
        dx[i] = T(s.grad[0] == Grad::accumulate ? static_cast<Wide<T>>(dx[i]) + term : term);
      }
    });
  }

 private:
  template <class T>
  using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;
};

class WeightedSum final : public Op {
 public:
  std::string_view name() const override { return "weighted_sum"; }
  ValueSpec infer(std::span<const ValueSpec>) const override { return {{1}, Kind::result}; }
  bool reads_input(int) const override { return false; }
  std::unique_ptr<Prepared> prepare(const Setting&) const override { return std::make_unique<PreparedWeightedSum>(); }
};

}  // namespace

Value weighted_sum(Value x) { return x.graph->add(std::make_shared<WeightedSum>(), {x}); }

}  // namespace metvox
