// SPDX-License-Identifier: Apache-2.0
#include "autograd/ops/norm_act.h"

#include "autograd/op_case.h"
#include "autograd/ops/conv3d.h"
#include "kernels/norm_act.h"

namespace metvox {
namespace {

class PreparedNormAct final : public Prepared {
 public:
  PreparedNormAct(const NormActProblem& problem, const Target& target) : problem_(problem) {
    kernel_ = prepare_kernel(metvox::norm_act(), problem, target, work_);
  }
  Work work(Pass) const override { return work_; }
  bool in_place(int input) const override { return input == 0; }
  size_t saved_bytes() const override { return Spec{saved_shape(), problem_.master()}.bytes(); }
  size_t forward_scratch_bytes() const override { return kernel_->forward_scratch_bytes(); }
  size_t backward_scratch_bytes() const override { return kernel_->backward_scratch_bytes(); }

  void forward(const Step& s) const override {
    kernel_->forward(s.stream, s.x[0], s.x_moments[0], s.x[1], s.x[2], s.y, saved(s), s.scratch);
  }
  void backward(const Step& s) const override {
    check(s.grad[1] == s.grad[2], "norm_act: gamma and beta are shared differently; share both or none");
    kernel_->backward(s.stream, s.x[0], s.x[1], s.x[2], saved(s), s.dy, s.dx[0], s.grad[0], s.dx[1], s.dx[2], s.grad[1],
                      s.scratch);
  }

 private:
  Shape saved_shape() const { return {problem_.n, problem_.c, 2}; }
  View saved(const Step& s) const { return {s.saved, saved_shape(), problem_.master(), problem_.device}; }
  NormActProblem problem_;
  Work work_;
  std::unique_ptr<NormAct> kernel_;
};

class NormActOp final : public Op {
 public:
  NormActOp(double slope, double eps, int64_t groups) : slope_(slope), eps_(eps), groups_(groups) {}
  std::string_view name() const override { return "norm_act"; }
  ValueSpec infer(std::span<const ValueSpec> x) const override {
    check(x[0].shape.rank() == 5 && x[1].shape == Shape{x[0].shape[1]} && x[2].shape == x[1].shape, "norm_act: x ",
          x[0].shape, " needs gamma and beta of its ", x[0].shape[1], " channels, got ", x[1].shape, " and ",
          x[2].shape);
    problem(x[0].shape).validate();
    return x[0];
  }
  bool takes_moments(int input) const override { return input == 0; }
  std::unique_ptr<Prepared> prepare(const Setting& setting) const override {
    NormActProblem p = problem(setting.x[0].shape);
    p.dtype = setting.target.dtype;
    p.device = setting.target.device;
    p.moment_chunks = setting.x_moment_chunks[0];
    return std::make_unique<PreparedNormAct>(p, setting.target);
  }
  NormActNumbers numbers() const { return {slope_, eps_, groups_}; }

 private:
  NormActProblem problem(const Shape& x) const {
    NormActProblem p{x[0], x[1], {x[2], x[3], x[4]}, eps_, slope_};
    p.groups = groups_;
    return p;
  }
  double slope_, eps_;
  int64_t groups_;
};

OpCase norm_case(const std::string& name, Use use, const Shape& x, int64_t groups = 0) {
  OpCase c{"norm_act", name, use};
  const int64_t channels_per_group = groups ? x[1] / groups : 1;
  c.values = 2.0 * static_cast<double>(x.size());
  c.terms = c.gradient_terms = static_cast<double>(channels_per_group * x[2] * x[3] * x[4]);
  c.build = [x, groups](CaseBuilder& make) {
    const Value gamma = make.parameter("gamma", {x[1]}), beta = make.parameter("beta", {x[1]});
    return norm_act(make.activation("x", x), gamma, beta, groups ? 0 : 0.01, 1e-5, groups);
  };
  return c;
}
// Behind a convolution, whose kernel may give the moments. No activation: the convolution's rounding would decide on
// which side of a kink a number falls.
OpCase behind_conv(const std::string& name, Use use, int64_t n, int64_t c, int64_t k, const Int3& in,
                   int64_t groups = 0) {
  OpCase made = norm_case(name, use, {n, k, in[0], in[1], in[2]}, groups);
  made.build = [=](CaseBuilder& make) {
    const Value x = make.activation("x", {n, c, in[0], in[1], in[2]}), w = make.parameter("w", {k, c, 3, 3, 3});
    const Value gamma = make.parameter("gamma", {k}), beta = make.parameter("beta", {k});
    return norm_act(conv3d(x, {}, w, {}, {}), gamma, beta, 1, 1e-5, groups);
  };
  return made;
}
const OpCaseEntry odd{norm_case("odd", Use::test, {3, 5, 4, 3, 7})};
const OpCaseEntry eight{norm_case("8 channels", Use::test, {1, 8, 3, 4, 5})};
const OpCaseEntry many{norm_case("33 channels", Use::test, {2, 33, 2, 3, 4})};
const OpCaseEntry groups{norm_case("groups", Use::test, {2, 32, 3, 2, 5}, 8)};
const OpCaseEntry odd_groups{norm_case("odd groups", Use::test, {1, 15, 2, 3, 5}, 3)};
const OpCaseEntry behind{behind_conv("behind a convolution", Use::test, 2, 4, 8, {2, 8, 8}, 4)};
const OpCaseEntry b1{norm_case("8 48^3", Use::bench, {2, 8, 48, 48, 48})};
const OpCaseEntry b2{norm_case("32 128^3", Use::bench, {1, 32, 128, 128, 128})};
const OpCaseEntry b3{norm_case("32 groups 8 64^3", Use::bench, {1, 32, 64, 64, 64}, 8)};
const OpCaseEntry b4{behind_conv("32 64^3 behind a convolution", Use::bench, 1, 32, 32, {64, 64, 64})};

}  // namespace

Value norm_act(Value x, Value gamma, Value beta, double slope, double eps, int64_t groups) {
  return x.graph->add(std::make_shared<NormActOp>(slope, eps, groups), {x, gamma, beta});
}

NormActNumbers norm_act_numbers(const Op& op) {
  const auto* norm = dynamic_cast<const NormActOp*>(&op);
  check(norm, "norm_act_numbers: the op is ", op.name());
  return norm->numbers();
}

}  // namespace metvox
