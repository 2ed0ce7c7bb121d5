// SPDX-License-Identifier: Apache-2.0
#include "autograd/ops/upsample.h"

#include "autograd/op_case.h"
#include "kernels/upsample.h"

namespace metvox {
namespace {

class PreparedUpsample final : public Prepared {
 public:
  PreparedUpsample(const UpsampleProblem& problem, const Target& target) {
    kernel_ = prepare_kernel(metvox::upsample(), problem, target, work_);
  }
  Work work(Pass) const override { return work_; }
  size_t forward_scratch_bytes() const override { return kernel_->scratch_bytes(); }
  size_t backward_scratch_bytes() const override { return kernel_->scratch_bytes(); }
  void forward(const Step& s) const override { kernel_->forward(s.stream, s.x[0], s.y, s.scratch); }
  void backward(const Step& s) const override { kernel_->backward(s.stream, s.dy, s.dx[0], s.grad[0], s.scratch); }

 private:
  Work work_;
  std::unique_ptr<Upsample> kernel_;
};

class UpsampleOp final : public Op {
 public:
  std::string_view name() const override { return "upsample"; }
  ValueSpec infer(std::span<const ValueSpec> x) const override {
    check(x[0].shape.rank() == 5, "upsample: x ", x[0].shape, " must have five extents");
    return {problem(x[0].shape).y_shape(), x[0].kind};
  }
  bool reads_input(int) const override { return false; }
  std::unique_ptr<Prepared> prepare(const Setting& setting) const override {
    UpsampleProblem p = problem(setting.x[0].shape);
    p.dtype = setting.target.dtype;
    p.device = setting.target.device;
    return std::make_unique<PreparedUpsample>(p, setting.target);
  }

 private:
  static UpsampleProblem problem(const Shape& x) { return {x[0], x[1], {x[2], x[3], x[4]}}; }
};

OpCase upsample_case(const std::string& name, Use use, const Shape& x) {
  OpCase c{"upsample", name, use};
  c.values = 9.0 * static_cast<double>(x.size());
  c.terms = 8;
  c.gradient_terms = 64;
  c.build = [x](CaseBuilder& make) { return upsample(make.activation("x", x)); };
  return c;
}
const OpCaseEntry odd{upsample_case("odd", Use::test, {3, 5, 2, 3, 7})};
const OpCaseEntry thin{upsample_case("one voxel thin", Use::test, {1, 33, 1, 4, 1})};
const OpCaseEntry b1{upsample_case("8 24^3", Use::bench, {2, 8, 24, 24, 24})};
const OpCaseEntry b2{upsample_case("32 32^3", Use::bench, {1, 32, 32, 32, 32})};

}  // namespace

Value upsample(Value x) { return x.graph->add(std::make_shared<UpsampleOp>(), {x}); }

}  // namespace metvox
