// SPDX-License-Identifier: Apache-2.0
#include "autograd/ops/conv_transpose3d.h"

#include "autograd/op_case.h"
#include "kernels/conv_transpose3d.h"
#include "tensor/align.h"

namespace metvox {
namespace {

class PreparedConvTranspose3d final : public Prepared {
 public:
  PreparedConvTranspose3d(const ConvTranspose3dProblem& problem, const Setting& setting) : bias_(problem.bias) {
    const Target& target = setting.target;
    forward_ = prepare_kernel(conv_transpose3d_forward(), problem, target, work_[0]);
    if (setting.wants_gradient[0]) data_ = prepare_kernel(conv_transpose3d_backward_data(), problem, target, work_[1]);
    if (setting.wants_gradient[1])
      weights_ = prepare_kernel(conv_transpose3d_backward_weights(), problem, target, work_[1]);
  }
  Work work(Pass pass) const override { return work_[pass == Pass::backward]; }
  size_t packed_bytes() const override {
    return aligned(forward_->packed_bytes()) + (data_ ? data_->packed_bytes() : 0);
  }
  size_t forward_scratch_bytes() const override { return forward_->scratch_bytes(); }
  size_t backward_scratch_bytes() const override {
    return std::max(data_ ? data_->scratch_bytes() : 0, weights_ ? weights_->scratch_bytes() : 0);
  }
  bool accumulates(int input) const override { return input > 0 || !data_ || data_->accumulates(); }

  void pack(const Step& s) const override {
    forward_->pack(s.stream, s.x[1], bias_ ? s.x[2] : View{}, s.packed);
    if (data_) data_->pack(s.stream, s.x[1], data_packed(s));
  }
  void forward(const Step& s) const override { forward_->run(s.stream, s.x[0], s.packed, s.y, s.scratch); }
  void backward(const Step& s) const override {
    check(!bias_ || s.grad[1] == s.grad[2], "conv_transpose3d: w and b are shared differently; share both or none");
    if (data_) data_->run(s.stream, s.dy, data_packed(s), s.dx[0], s.grad[0], s.scratch);
    if (weights_) weights_->run(s.stream, s.x[0], s.dy, s.dx[1], bias_ ? s.dx[2] : View{}, s.grad[1], s.scratch);
  }

 private:
  void* data_packed(const Step& s) const {
    return static_cast<std::byte*>(s.packed) + aligned(forward_->packed_bytes());
  }

  bool bias_;
  Work work_[2];  // of each pass
  std::unique_ptr<ConvTranspose3dForward> forward_;
  std::unique_ptr<ConvTranspose3dBackwardData> data_;
  std::unique_ptr<ConvTranspose3dBackwardWeights> weights_;
};

class ConvTranspose3dOp final : public Op {
 public:
  explicit ConvTranspose3dOp(bool bias) : bias_(bias) {}
  std::string_view name() const override { return "conv_transpose3d"; }
  ValueSpec infer(std::span<const ValueSpec> v) const override {
    const ConvTranspose3dProblem p = problem(v[0].shape, v[1].shape);
    const Int3 out = p.out();
    return {{p.n, p.k, out[0], out[1], out[2]}, Kind::activation};
  }
  bool reads_input(int i) const override { return i == 0; }
  std::unique_ptr<Prepared> prepare(const Setting& setting) const override {
    ConvTranspose3dProblem p = problem(setting.x[0].shape, setting.x[1].shape);
    p.dtype = setting.target.dtype;
    p.device = setting.target.device;
    p.tf32 = setting.target.tf32;
    return std::make_unique<PreparedConvTranspose3d>(p, setting);
  }

 private:
  ConvTranspose3dProblem problem(const Shape& x, const Shape& w) const {
    check(x.rank() == 5 && w.rank() == 5 && x[1] == w[0], "conv_transpose3d: x has ", x[1], " channels, w expects ",
          w[0], "; x ", x, ", w ", w);
    ConvTranspose3dProblem p{x[0], x[1], w[1], {x[2], x[3], x[4]}, {w[2], w[3], w[4]}, bias_};
    p.validate();
    return p;
  }
  bool bias_;
};

OpCase up_case(const std::string& name, Use use, const Shape& x, int64_t k, const Int3& stride, bool bias) {
  ConvTranspose3dProblem p{x[0], x[1], k, {x[2], x[3], x[4]}, stride, bias};
  OpCase c{"conv_transpose3d", name, use};
  c.flops = p.flops();
  c.terms = static_cast<double>(x[1]);
  c.gradient_terms = std::max(static_cast<double>(k * volume(stride)), static_cast<double>(x[0] * volume(p.out())));
  c.values = static_cast<double>(x.size() + x[0] * k * volume(p.out()));
  c.build = [=](CaseBuilder& make) {
    return conv_transpose3d(make.activation("x", x), make.parameter("w", {x[1], k, stride[0], stride[1], stride[2]}),
                            bias ? make.parameter("b", {k}) : Value{});
  };
  return c;
}
const OpCaseEntry odd{up_case("odd", Use::test, {3, 5, 2, 3, 4}, 3, {2, 2, 2}, true)};
const OpCaseEntry flat{up_case("flat122", Use::test, {1, 8, 3, 2, 2}, 8, {1, 2, 2}, true)};
const OpCaseEntry bare{up_case("no_bias", Use::test, {2, 16, 2, 2, 3}, 8, {2, 2, 2}, false)};
const OpCaseEntry b1{up_case("16>8 24^3", Use::bench, {2, 16, 24, 24, 24}, 8, {2, 2, 2}, true)};
const OpCaseEntry b2{up_case("64>32 32^3", Use::bench, {1, 64, 32, 32, 32}, 32, {2, 2, 2}, true)};

}  // namespace

Value conv_transpose3d(Value x, Value w, Value b) {
  std::vector<Value> in{x, w};
  if (b) in.push_back(b);
  return x.graph->add(std::make_shared<ConvTranspose3dOp>(static_cast<bool>(b)), in);
}

}  // namespace metvox
