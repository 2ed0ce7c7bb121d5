// SPDX-License-Identifier: Apache-2.0
#include "autograd/ops/add.h"

#include "autograd/op_case.h"
#include "kernels/pointwise.h"

namespace metvox {
namespace {

class PreparedAdd final : public Prepared {
 public:
  bool in_place(int input) const override { return input == 0; }
  Work work(Pass) const override { return {"native"}; }
  void forward(const Step& s) const override { add(s.stream, s.x[0], s.x[1], s.y); }
  void backward(const Step& s) const override {
    for (size_t i : {1, 0})  // the first one's gradient may lie in dy
      if (s.grad[i] != Grad::ignore) copy(s.stream, s.dy, s.dx[i], s.grad[i]);
  }
};

class Add final : public Op {
 public:
  std::string_view name() const override { return "add"; }
  ValueSpec infer(std::span<const ValueSpec> x) const override {
    check(x[0].shape == x[1].shape && x[0].kind == x[1].kind, "add: shapes differ, ", x[0].shape, " and ", x[1].shape);
    return x[0];
  }
  bool reads_input(int) const override { return false; }
  std::unique_ptr<Prepared> prepare(const Setting&) const override { return std::make_unique<PreparedAdd>(); }
};

OpCase add_case(const std::string& name, Use use, const Shape& shape) {
  OpCase c{"add", name, use};
  c.values = 3.0 * static_cast<double>(shape.size());
  c.build = [shape](CaseBuilder& make) { return add(make.activation("a", shape), make.activation("b", shape)); };
  return c;
}
const OpCaseEntry odd{add_case("odd", Use::test, {3, 5, 2, 3, 7})};
OpCase twice_case() {
  OpCase c{"add", "to itself", Use::test};
  c.build = [](CaseBuilder& make) {
    const Value x = make.activation("x", {2, 3, 2, 2, 5});
    return add(x, x);
  };
  return c;
}
const OpCaseEntry twice{twice_case()};
const OpCaseEntry large{add_case("8 48^3", Use::bench, {2, 8, 48, 48, 48})};
const OpCaseEntry wide{add_case("32 64^3", Use::bench, {1, 32, 64, 64, 64})};

}  // namespace

Value add(Value a, Value b) { return a.graph->add(std::make_shared<Add>(), {a, b}); }

}  // namespace metvox
