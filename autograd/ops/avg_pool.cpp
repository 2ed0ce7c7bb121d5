// SPDX-License-Identifier: Apache-2.0
#include "autograd/ops/avg_pool.h"

#include "autograd/op_case.h"
#include "kernels/avg_pool.h"

namespace metvox {
namespace {

class PreparedAvgPool final : public Prepared {
 public:
  explicit PreparedAvgPool(const Int3& stride) : stride_(stride) {}
  Work work(Pass) const override { return {"native"}; }
  void forward(const Step& s) const override { avg_pool(s.stream, s.x[0], stride_, s.y); }
  void backward(const Step& s) const override { avg_pool_backward(s.stream, s.dy, stride_, s.dx[0], s.grad[0]); }

 private:
  Int3 stride_;
};

class AvgPoolOp final : public Op {
 public:
  explicit AvgPoolOp(const Int3& stride) : stride_(stride) {}
  std::string_view name() const override { return "avg_pool"; }
  ValueSpec infer(std::span<const ValueSpec> x) const override {
    return {avg_pool_shape(x[0].shape, stride_), x[0].kind};
  }
  bool reads_input(int) const override { return false; }
  std::unique_ptr<Prepared> prepare(const Setting&) const override {
    return std::make_unique<PreparedAvgPool>(stride_);
  }

 private:
  Int3 stride_;
};

OpCase avg_pool_case(const std::string& name, Use use, const Shape& x, const Int3& stride) {
  OpCase c{"avg_pool", name, use};
  c.values = static_cast<double>(x.size()) * (1 + 1 / static_cast<double>(volume(stride)));
  c.terms = static_cast<double>(volume(stride));
  c.build = [x, stride](CaseBuilder& make) { return avg_pool(make.activation("x", x), stride); };
  return c;
}
const OpCaseEntry odd{avg_pool_case("odd", Use::test, {3, 5, 2, 6, 4}, {2, 2, 2})};
const OpCaseEntry flat{avg_pool_case("flat", Use::test, {1, 17, 3, 4, 6}, {1, 2, 3})};
const OpCaseEntry large{avg_pool_case("32 64^3", Use::bench, {1, 32, 64, 64, 64}, {2, 2, 2})};

}  // namespace

Value avg_pool(Value x, const Int3& stride) { return x.graph->add(std::make_shared<AvgPoolOp>(stride), {x}); }

}  // namespace metvox
