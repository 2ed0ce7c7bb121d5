// SPDX-License-Identifier: Apache-2.0
// Engine `cudnn` of conv_transpose3d: its forward pass is the backward data of the convolution with that kernel and
// stride, and the other way round; our w lies as that convolution's. Ways, types and what has not been seen on hardware
// as conv3d_cudnn.cpp.
#include "kernels/conv_transpose3d_engines.h"
#include "kernels/cudnn/ways.h"

#if METVOX_CUDNN
#include <algorithm>

#include "kernels/cuda/vendor_layout.h"
#include "tensor/align.h"

namespace metvox::cudnn {
namespace {

using Problem = ConvTranspose3dProblem;

Convolution mirrored(const Problem& p, Pass pass, bool any, bool adds = false) {
  Conv3dProblem q{p.n, p.k, 0, p.c, p.out(), p.stride, p.stride, {0, 0, 0}};
  q.dtype = p.dtype, q.device = p.device, q.tf32 = p.tf32;
  return {q, pass, adds, any};
}
Plan plan_of(const Convolution& c, const std::string& way) { return way.empty() ? plan(c, "") : plan_named(c, way); }

View filter(const Problem& p, void* at) { return {at, p.w_shape(), p.dtype, p.device}; }
size_t filter_bytes(const Problem& p) { return aligned(filter(p, nullptr).bytes()); }

class Forward final : public ConvTranspose3dForward {
 public:
  Forward(const Problem& p, const std::string& way, bool any)
      : p_(p), plan_(plan_of(mirrored(p, Pass::backward_data, any), way)) {}
  size_t packed_bytes() const override { return filter_bytes(p_) + static_cast<size_t>(p_.k) * sizeof(float); }
  size_t scratch_bytes() const override { return plan_.workspace_bytes(); }

  void pack(Stream& stream, View w, View b, void* packed) const override {
    p_.check_weights(w, b);
    kgpu::take_filter(stream, w, 0, filter(p_, packed));
    if (p_.bias) transfer(stream, b, bias(packed));
  }
  void run(Stream& stream, View x, const void* packed, View y, void* scratch) const override {
    p_.check_activations(x, y);
    plan_.run(stream, y.data, packed, x.data, scratch);
    if (p_.bias) kgpu::add_bias(stream, bias(packed), y);
  }

 private:
  View bias(const void* packed) const {
    return {static_cast<std::byte*>(const_cast<void*>(packed)) + filter_bytes(p_), {p_.k}, DType::f32, p_.device};
  }
  Problem p_;
  Plan plan_;
};

class BackwardData final : public ConvTranspose3dBackwardData {
 public:
  BackwardData(const Problem& p, const std::string& way, bool any)
      : p_(p), overwriting_(plan_of(mirrored(p, Pass::forward, any), way)) {
    try {
      adding_ = plan(mirrored(p, Pass::forward, any, true), way);
    } catch (const Error& e) {
      log("dispatch", "conv_transpose3d_backward_data,cudnn,cannot add to dx,", e.what());
    }
  }
  size_t packed_bytes() const override { return filter_bytes(p_); }
  size_t scratch_bytes() const override {
    return std::max(overwriting_.workspace_bytes(), adding_ ? adding_->workspace_bytes() : 0);
  }
  bool accumulates() const override { return adding_.has_value(); }

  void pack(Stream& stream, View w, void* packed) const override {
    p_.check_weights(w);
    kgpu::take_filter(stream, w, 0, filter(p_, packed));
  }
  void run(Stream& stream, View dy, const void* packed, View dx, Grad grad, void* scratch) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(dx, dy);
    check(grad == Grad::overwrite || accumulates(), "conv_transpose3d: engine cudnn cannot add to this dx");
    (grad == Grad::accumulate ? *adding_ : overwriting_).run(stream, dy.data, packed, dx.data, scratch);
  }

 private:
  Problem p_;
  Plan overwriting_;
  std::optional<Plan> adding_;
};

class BackwardWeights final : public ConvTranspose3dBackwardWeights {
 public:
  BackwardWeights(const Problem& p, const std::string& way, bool any)
      : p_(p), plan_(plan_of(mirrored(p, Pass::backward_weights, any), way)) {}
  size_t scratch_bytes() const override {
    const size_t sums = p_.bias ? kgpu::bias_gradient_scratch({nullptr, p_.y_shape(), p_.dtype, p_.device}) : 0;
    return filter_bytes(p_) + std::max(plan_.workspace_bytes(), sums);
  }
  void run(Stream& stream, View x, View dy, View dw, View db, Grad grad, void* scratch) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(x, dy);
    p_.check_weights(dw, db);
    void* rest = static_cast<std::byte*>(scratch) + filter_bytes(p_);
    plan_.run(stream, dy.data, scratch, x.data, rest);
    kgpu::give_filter(stream, filter(p_, scratch), dw, 0, grad);
    if (p_.bias) kgpu::bias_gradient(stream, dy, db, grad, rest);
  }

 private:
  Problem p_;
  Plan plan_;
};

template <class Interface, class Kernel, Pass pass, bool any>
Engine<Problem, Interface> engine_of() {
  using Made = std::unique_ptr<Interface>;
  return {any ? "cudnn-any" : "cudnn",
          Device::Kind::cuda,
          [](const Problem& p) { return declines(p.device, p.dtype); },
          [](const Problem& p) -> Made { return std::make_unique<Kernel>(p, "", any); },
          nullptr,
          [](const Problem& p) { return ways(mirrored(p, pass, any)); },
          [](const Problem& p, const std::string& way) -> Made { return std::make_unique<Kernel>(p, way, any); }};
}

template <class Interface, class Kernel, Pass pass>
Engine<Problem, Interface> engine(bool any) {
  return any ? engine_of<Interface, Kernel, pass, true>() : engine_of<Interface, Kernel, pass, false>();
}

}  // namespace

Engine<Problem, ConvTranspose3dForward> conv_transpose3d_forward(bool any) {
  return engine<ConvTranspose3dForward, Forward, Pass::backward_data>(any);
}
Engine<Problem, ConvTranspose3dBackwardData> conv_transpose3d_backward_data(bool any) {
  return engine<ConvTranspose3dBackwardData, BackwardData, Pass::forward>(any);
}
Engine<Problem, ConvTranspose3dBackwardWeights> conv_transpose3d_backward_weights(bool any) {
  return engine<ConvTranspose3dBackwardWeights, BackwardWeights, Pass::backward_weights>(any);
}

}  // namespace metvox::cudnn

#else
#include "kernels/left_out.h"

namespace metvox::cudnn {

Engine<ConvTranspose3dProblem, ConvTranspose3dForward> conv_transpose3d_forward(bool any) {
  return left_out<ConvTranspose3dProblem, ConvTranspose3dForward>(any ? "cudnn-any" : "cudnn");
}
Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardData> conv_transpose3d_backward_data(bool any) {
  return left_out<ConvTranspose3dProblem, ConvTranspose3dBackwardData>(any ? "cudnn-any" : "cudnn");
}
Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardWeights> conv_transpose3d_backward_weights(bool any) {
  return left_out<ConvTranspose3dProblem, ConvTranspose3dBackwardWeights>(any ? "cudnn-any" : "cudnn");
}

}  // namespace metvox::cudnn
#endif
