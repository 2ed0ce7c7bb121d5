// SPDX-License-Identifier: Apache-2.0
#include "autograd/ops/add_act.h"

#include "autograd/op_case.h"
#include "kernels/add_act.h"

namespace metvox {
namespace {

class PreparedAddAct final : public Prepared {
 public:
  explicit PreparedAddAct(double slope) : slope_(slope) {}
  bool in_place(int input) const override { return input == 0; }
  Work work(Pass) const override { return {"native"}; }
  void forward(const Step& s) const override { add_act(s.stream, s.x[0], s.x[1], slope_, s.y); }
  void backward(const Step& s) const override {
    for (size_t i : {1, 0})  // the first one's gradient may lie in dy
      add_act_backward(s.stream, s.y, s.dy, slope_, s.dx[i], s.grad[i]);
  }

 private:
  double slope_;
};

class AddActOp final : public Op {
 public:
  explicit AddActOp(double slope) : slope_(slope) {}
  std::string_view name() const override { return "add_act"; }
  ValueSpec infer(std::span<const ValueSpec> x) const override {
    check(x[0].shape == x[1].shape && x[0].kind == x[1].kind, "add_act: shapes differ, ", x[0].shape, " and ",
          x[1].shape);
    check(slope_ > 0, "add_act: slope ", slope_, " is not above 0");
    return x[0];
  }
  bool reads_input(int) const override { return false; }
  bool reads_output() const override { return true; }
  std::unique_ptr<Prepared> prepare(const Setting&) const override { return std::make_unique<PreparedAddAct>(slope_); }
  double slope() const { return slope_; }

 private:
  double slope_;
};

OpCase add_act_case(const std::string& name, Use use, const Shape& shape) {
  OpCase c{"add_act", name, use};
  c.values = 3.0 * static_cast<double>(shape.size());
  c.build = [shape](CaseBuilder& make) { return add_act(make.activation("a", shape), make.activation("b", shape)); };
  return c;
}
const OpCaseEntry odd{add_act_case("odd", Use::test, {3, 5, 2, 3, 7})};
const OpCaseEntry large{add_act_case("32 64^3", Use::bench, {1, 32, 64, 64, 64})};

}  // namespace

Value add_act(Value a, Value b, double slope) { return a.graph->add(std::make_shared<AddActOp>(slope), {a, b}); }

double add_act_slope(const Op& op) {
  const auto* add = dynamic_cast<const AddActOp*>(&op);
  check(add, "add_act_slope: the op is ", op.name());
  return add->slope();
}

}  // namespace metvox
