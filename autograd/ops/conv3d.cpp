// SPDX-License-Identifier: Apache-2.0
#include "autograd/ops/conv3d.h"

#include "autograd/op_case.h"
#include "autograd/ops/norm_act.h"
#include "kernels/conv3d.h"
#include "tensor/align.h"

namespace metvox {
namespace {

// Where each input stands: x [x2] w [b].
struct Inputs {
  bool two, bias;
  int w() const { return two ? 2 : 1; }
  int b() const { return two ? 3 : 2; }
};

class PreparedConv3d final : public Prepared {
 public:
  PreparedConv3d(const Conv3dProblem& problem, Inputs in, const Setting& setting) : in_(in) {
    const Target& target = setting.target;
    Conv3dProblem forward = problem;
    forward.moments = setting.wants_moments && !target.device.is_cpu();  // no engine of a CPU gives them
    forward_ = prepare_kernel(conv3d_forward(), forward, target, work_[0]);
    if (setting.wants_gradient[0] || (in.two && setting.wants_gradient[1]))
      data_ = prepare_kernel(conv3d_backward_data(), problem, target, work_[1]);
    if (setting.wants_gradient[in.w()]) weights_ = prepare_kernel(conv3d_backward_weights(), problem, target, work_[1]);
  }
  Work work(Pass pass) const override { return work_[pass == Pass::backward]; }
  int64_t moment_chunks() const override { return forward_->moment_chunks(); }
  size_t packed_bytes() const override {
    return aligned(forward_->packed_bytes()) + (data_ ? data_->packed_bytes() : 0);
  }
  size_t forward_scratch_bytes() const override { return forward_->scratch_bytes(); }
  size_t backward_scratch_bytes() const override {
    return std::max(data_ ? data_->scratch_bytes() : 0, weights_ ? weights_->scratch_bytes() : 0);
  }
  bool accumulates(int input) const override { return input >= in_.w() || !data_ || data_->accumulates(); }

  void pack(const Step& s) const override {
    forward_->pack(s.stream, s.x[in_.w()], in_.bias ? s.x[in_.b()] : View{}, s.packed);
    if (data_) data_->pack(s.stream, s.x[in_.w()], data_packed(s));
  }
  void forward(const Step& s) const override {
    const View x2 = in_.two ? s.x[1] : View{};
    if (s.y_moments) forward_->run_with_moments(s.stream, s.x[0], x2, s.packed, s.y, s.y_moments, s.scratch);
    else forward_->run(s.stream, s.x[0], x2, s.packed, s.y, s.scratch);
  }
  void backward(const Step& s) const override {
    check(!in_.bias || s.grad[in_.w()] == s.grad[in_.b()],
          "conv3d: w and b are shared differently; share both or none");
    if (data_)
      data_->run(s.stream, s.dy, data_packed(s), s.dx[0], s.grad[0], in_.two ? s.dx[1] : View{},
                 in_.two ? s.grad[1] : Grad::ignore, s.scratch);
    if (weights_)
      weights_->run(s.stream, s.x[0], in_.two ? s.x[1] : View{}, s.dy, s.dx[in_.w()], in_.bias ? s.dx[in_.b()] : View{},
                    s.grad[in_.w()], s.scratch);
  }

 private:
  void* data_packed(const Step& s) const {
    return static_cast<std::byte*>(s.packed) + aligned(forward_->packed_bytes());
  }

  Inputs in_;
  Work work_[2];  // of each pass
  std::unique_ptr<Conv3dForward> forward_;
  std::unique_ptr<Conv3dBackwardData> data_;
  std::unique_ptr<Conv3dBackwardWeights> weights_;
};

class Conv3dOp final : public Op {
 public:
  Conv3dOp(Inputs in, const Conv3dOptions& options) : in_(in), options_(options) {}
  std::string_view name() const override { return "conv3d"; }

  ValueSpec infer(std::span<const ValueSpec> v) const override {
    const Conv3dProblem p = problem([&](int i) { return v[i].shape; });
    const Int3 out = p.out();
    return {{p.n, p.k, out[0], out[1], out[2]}, Kind::activation};
  }
  // The bias is packed with the weights; backward reads neither the bias nor the output.
  bool reads_input(int i) const override { return i < in_.w(); }
  std::unique_ptr<Prepared> prepare(const Setting& setting) const override {
    Conv3dProblem p = problem([&](int i) { return setting.x[i].shape; });
    p.dtype = setting.target.dtype;
    p.device = setting.target.device;
    p.tf32 = setting.target.tf32;
    return std::make_unique<PreparedConv3d>(p, in_, setting);
  }

 private:
  template <class ShapeOf>
  Conv3dProblem problem(ShapeOf shape) const {
    const Shape x = shape(0), w = shape(in_.w());
    check(x.rank() == 5 && w.rank() == 5, "conv3d: x ", x, " and w ", w, " must have five extents");
    Conv3dProblem p;
    p.n = x[0];
    p.c = x[1];
    p.c2 = in_.two ? shape(1)[1] : 0;
    p.k = w[0];
    for (int a = 0; a < 3; ++a) {
      p.in[a] = x[2 + a];
      p.kernel[a] = w[2 + a];
      check(!in_.two || (shape(1)[2 + a] == x[2 + a] && shape(1)[0] == x[0]), "conv3d: x ", x, " and x2 ", shape(1),
            " may differ in channels only");
    }
    check(p.c + p.c2 == w[1], "conv3d: x has ", p.c + p.c2, " channels, w expects ", w[1], "; x ", x, ", w ", w);
    p.stride = options_.stride;
    p.pad = options_.pad;
    p.bias = in_.bias;
    p.validate();
    return p;
  }
  Inputs in_;
  Conv3dOptions options_;
};

}  // namespace

Value conv3d(Value x, Value x2, Value w, Value b, const Conv3dOptions& options) {
  std::vector<Value> in{x};
  if (x2) in.push_back(x2);
  in.push_back(w);
  if (b) in.push_back(b);
  return x.graph->add(std::make_shared<Conv3dOp>(Inputs{static_cast<bool>(x2), static_cast<bool>(b)}, options), in);
}

namespace {

struct Case {
  int64_t n, c, c2, k;
  Int3 in, kernel, stride, pad;
  bool bias;
};
OpCase conv_case(const std::string& name, Use use, const Case& s) {
  Conv3dProblem p{s.n, s.c, s.c2, s.k, s.in, s.kernel, s.stride, s.pad, s.bias};
  const Int3 out = p.out();
  OpCase c{"conv3d", name, use};
  c.flops = p.flops();
  c.terms = static_cast<double>((s.c + s.c2) * volume(s.kernel));
  c.gradient_terms = std::max(static_cast<double>(s.k * volume(s.kernel)), static_cast<double>(s.n * volume(out)));
  c.values = static_cast<double>(s.n) * static_cast<double>((s.c + s.c2) * volume(s.in) + s.k * volume(out));
  c.build = [s](CaseBuilder& make) {
    const Shape x{s.n, s.c, s.in[0], s.in[1], s.in[2]}, x2{s.n, s.c2, s.in[0], s.in[1], s.in[2]};
    const Shape w{s.k, s.c + s.c2, s.kernel[0], s.kernel[1], s.kernel[2]};
    return conv3d(make.activation("x", x), s.c2 ? make.activation("x2", x2) : Value{}, make.parameter("w", w),
                  s.bias ? make.parameter("b", {s.k}) : Value{}, {s.stride, s.pad});
  };
  return c;
}

const OpCaseEntry odd{conv_case("odd", Use::test, {3, 3, 0, 5, {5, 4, 7}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, true})};
const OpCaseEntry stride{
    conv_case("stride2", Use::test, {1, 8, 0, 16, {8, 6, 9}, {3, 3, 3}, {2, 2, 2}, {1, 1, 1}, false})};
const OpCaseEntry flat{
    conv_case("flat133", Use::test, {2, 4, 0, 8, {3, 6, 6}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}, false})};
const OpCaseEntry two{
    conv_case("two_inputs", Use::test, {2, 8, 5, 8, {4, 5, 6}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, false})};
const OpCaseEntry many{
    conv_case("many_channels", Use::test, {1, 128, 0, 128, {1, 2, 3}, {1, 1, 3}, {1, 1, 1}, {0, 0, 1}, true})};
const OpCaseEntry head{conv_case("head", Use::test, {2, 16, 0, 3, {4, 4, 5}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, true})};
const OpCaseEntry valid{
    conv_case("no_padding", Use::test, {1, 2, 0, 3, {5, 5, 5}, {3, 3, 3}, {1, 1, 1}, {0, 0, 0}, true})};
const OpCaseEntry voxel{
    conv_case("one_voxel", Use::test, {1, 1, 0, 1, {1, 1, 1}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, true})};

const OpCaseEntry b1{
    conv_case("4>8 48^3", Use::bench, {2, 4, 0, 8, {48, 48, 48}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, false})};
const OpCaseEntry b2{
    conv_case("8>8 48^3", Use::bench, {2, 8, 0, 8, {48, 48, 48}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, false})};
const OpCaseEntry b3{
    conv_case("8>16 s2 48^3", Use::bench, {2, 8, 0, 16, {48, 48, 48}, {3, 3, 3}, {2, 2, 2}, {1, 1, 1}, false})};
const OpCaseEntry b4{
    conv_case("8+8>8 48^3", Use::bench, {2, 8, 8, 8, {48, 48, 48}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, false})};
const OpCaseEntry b5{
    conv_case("8>3 head 48^3", Use::bench, {2, 8, 0, 3, {48, 48, 48}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, true})};
const OpCaseEntry b6{
    conv_case("32>32 64^3", Use::bench, {1, 32, 0, 32, {64, 64, 64}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, false})};
const OpCaseEntry b7{
    conv_case("32+32>32 64^3", Use::bench, {1, 32, 32, 32, {64, 64, 64}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, false})};
const OpCaseEntry b8{
    conv_case("32>64 s2 64^3", Use::bench, {1, 32, 0, 64, {64, 64, 64}, {3, 3, 3}, {2, 2, 2}, {1, 1, 1}, false})};
const OpCaseEntry b9{
    conv_case("128>128 16^3", Use::bench, {1, 128, 0, 128, {16, 16, 16}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, false})};
const OpCaseEntry b10{
    conv_case("16>16 16^3", Use::bench, {1, 16, 0, 16, {16, 16, 16}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, false})};
const OpCaseEntry b11{
    conv_case("320>320 8^3", Use::bench, {1, 320, 0, 320, {8, 8, 8}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, false})};

// With the moments that a norm behind it wants, where a kernel gives them.
OpCase before_norm(OpCase c) {
  c.build = [conv = c.build](CaseBuilder& make) {
    const Value y = conv(make);
    const int64_t k = y.shape()[1];
    return norm_act(y, make.parameter("gamma", {k}), make.parameter("beta", {k}));
  };
  return c;
}
const OpCaseEntry b12{before_norm(conv_case("32>32 64^3 before a norm", Use::bench,
                                            {1, 32, 0, 32, {64, 64, 64}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, false}))};

}  // namespace
}  // namespace metvox
