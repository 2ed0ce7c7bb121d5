// SPDX-License-Identifier: Apache-2.0
// Engine `onednn` of conv_transpose3d: the passes of an ordinary convolution from y to x, roles exchanged, which is
// what oneDNN's deconvolution does inside. The bias is ours: a channels-last deconvolution with bias is many times
// slower.
#include "kernels/conv_transpose3d_engines.h"
#include "kernels/cpu/bias.h"
#include "kernels/onednn/onednn.h"

namespace metvox::onednn {
namespace {

using Convolve = dnnl::convolution_forward;
using ConvolveBackData = dnnl::convolution_backward_data;
using ConvolveBackWeights = dnnl::convolution_backward_weights;
constexpr auto kDirect = dnnl::algorithm::convolution_direct;

struct Roles {
  const ConvTranspose3dProblem& p;

  dnnl::memory::desc x() const { return activation(p.n, p.c, p.in, p.dtype); }
  dnnl::memory::desc y() const { return activation(p.n, p.k, p.out(), p.dtype); }
  dnnl::memory::desc w(DType t) const { return weights_any(p.c, p.k, p.stride, t); }
  dnnl::memory::desc master() const { return weights(p.c, p.k, p.stride, DType::f32); }
  dnnl::memory::dims stride() const { return dims_of(p.stride); }

  Convolve::primitive_desc backward_data(bool add) const {
    return {{dnnl::prop_kind::forward_training, kDirect, y(), w(p.dtype), x(), stride(), {0, 0, 0}, {0, 0, 0}},
            attributes(add),
            cpu_engine()};
  }
  ConvolveBackData::primitive_desc forward() const {
    return {{kDirect, y(), w(p.dtype), x(), stride(), {0, 0, 0}, {0, 0, 0}},
            attributes(),
            cpu_engine(),
            backward_data(false)};
  }
  ConvolveBackWeights::primitive_desc backward_weights() const {
    return {{kDirect, y(), w(DType::f32), x(), stride(), {0, 0, 0}, {0, 0, 0}},
            attributes(),
            cpu_engine(),
            backward_data(false)};
  }
};

class Forward final : public ConvTranspose3dForward {
 public:
  explicit Forward(const ConvTranspose3dProblem& p) : Forward(p, Roles{p}, Roles{p}.forward()) {}
  size_t packed_bytes() const override { return bias_ + bias_size() * sizeof(float); }
  size_t scratch_bytes() const override { return convolution_.scratch_bytes(); }

  void pack(Stream&, View w, View b, void* packed) const override {
    p_.check_weights(w, b);
    weights_.pack(w.data, packed);
    if (p_.bias) metvox::cpu::repeat_bias(b, static_cast<float*>(at(packed, bias_)));
  }

  void run(Stream&, View x, const void* packed, View y, void* scratch) const override {
    p_.check_activations(x, y);
    convolution_({x.data, weights_.at(packed, 0), y.data}, scratch);
    if (p_.bias) metvox::cpu::add_bias(y, p_.k, static_cast<const float*>(at(packed, bias_)));
  }

 private:
  Forward(const ConvTranspose3dProblem& p, const Roles& roles, const ConvolveBackData::primitive_desc& conv)
      : p_(p),
        convolution_(ConvolveBackData(conv), conv.scratchpad_desc(),
                     {{DNNL_ARG_DIFF_DST, conv.diff_dst_desc()},
                      {DNNL_ARG_WEIGHTS, conv.weights_desc()},
                      {DNNL_ARG_DIFF_SRC, conv.diff_src_desc()}}) {
    weights_.add(roles.master(), conv.weights_desc());
    bias_ = weights_.bytes();
  }
  size_t bias_size() const { return p_.bias ? static_cast<size_t>(metvox::cpu::repeated_bias_size(p_.k)) : 0; }

  ConvTranspose3dProblem p_;
  Call convolution_;
  PackedWeights weights_;
  size_t bias_;
};

class BackwardData final : public ConvTranspose3dBackwardData {
 public:
  explicit BackwardData(const ConvTranspose3dProblem& p)
      : p_(p), overwrite_(call(Roles{p}.backward_data(false))), add_(call(Roles{p}.backward_data(true))) {
    weights_.add(Roles{p}.master(), Roles{p}.backward_data(false).weights_desc());
  }
  size_t packed_bytes() const override { return weights_.bytes(); }
  size_t scratch_bytes() const override { return std::max(overwrite_.scratch_bytes(), add_.scratch_bytes()); }
  bool accumulates() const override { return true; }

  void pack(Stream&, View w, void* packed) const override {
    p_.check_weights(w);
    weights_.pack(w.data, packed);
  }

  void run(Stream&, View dy, const void* packed, View dx, Grad grad, void* scratch) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(dx, dy);
    (grad == Grad::accumulate ? add_ : overwrite_)({dy.data, weights_.at(packed, 0), dx.data}, scratch);
  }

 private:
  static Call call(const Convolve::primitive_desc& conv) {
    return {
        Convolve(conv),
        conv.scratchpad_desc(),
        {{DNNL_ARG_SRC, conv.src_desc()}, {DNNL_ARG_WEIGHTS, conv.weights_desc()}, {DNNL_ARG_DST, conv.dst_desc()}}};
  }

  ConvTranspose3dProblem p_;
  Call overwrite_, add_;
  PackedWeights weights_;
};

class BackwardWeights final : public ConvTranspose3dBackwardWeights {
 public:
  explicit BackwardWeights(const ConvTranspose3dProblem& p) : BackwardWeights(p, Roles{p}.backward_weights()) {}
  size_t scratch_bytes() const override { return layout_.bytes(); }

  void run(Stream&, View x, View dy, View dw, View db, Grad grad, void* scratch) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(x, dy);
    p_.check_weights(dw, db);
    void* result = at(scratch, result_);
    void* inner = at(scratch, inner_);
    convolution_({dy.data, x.data, result}, inner);
    unpack_(result, dw.data, grad, inner);
    if (p_.bias) bias_gradient_(dy, db, grad, inner);
  }

 private:
  BackwardWeights(const ConvTranspose3dProblem& p, const ConvolveBackWeights::primitive_desc& conv)
      : p_(p),
        convolution_(ConvolveBackWeights(conv), conv.scratchpad_desc(),
                     {{DNNL_ARG_SRC, conv.src_desc()},
                      {DNNL_ARG_DIFF_DST, conv.diff_dst_desc()},
                      {DNNL_ARG_DIFF_WEIGHTS, conv.diff_weights_desc()}}),
        unpack_(conv.diff_weights_desc(), Roles{p}.master()),
        bias_gradient_(p.k) {
    result_ = layout_.add(conv.diff_weights_desc().get_size());
    inner_ =
        layout_.add(std::max({convolution_.scratch_bytes(), unpack_.scratch_bytes(), bias_gradient_.scratch_bytes()}));
  }

  ConvTranspose3dProblem p_;
  Call convolution_;
  WriteGradient unpack_;
  metvox::cpu::BiasGradient bias_gradient_;
  Layout layout_;
  size_t result_, inner_;
};

std::string reorder_of(const Roles& r, const ConvolveBackWeights::primitive_desc& conv) {
  return reorder_name(conv.diff_weights_desc(), r.master());
}
std::string reorder_of(const Roles& r, const auto& conv) { return reorder_name(r.master(), conv.weights_desc()); }

std::optional<std::string> odd_1x1x1(const ConvTranspose3dProblem& p) {
  if (p.dtype != DType::bf16 || volume(p.stride) != 1 || p.c % 2 == 0) return std::nullopt;
  return "oneDNN 2.6 sums one channel too many backwards through a bf16 1x1x1 kernel, with an odd number of inputs";
}

template <class Interface, class Kernel, auto describe, auto fault = never<ConvTranspose3dProblem>>
Engine<ConvTranspose3dProblem, Interface> engine() {
  return {"onednn", Device::Kind::cpu,
          [](const ConvTranspose3dProblem& p) -> std::optional<std::string> {
            p.validate();
            if (auto reason = declines_type(p.dtype)) return reason;
            if (auto reason = fault(p)) return reason;
            return refusal([&] {
              const Roles roles{p};
              const auto conv = describe(roles);
              return std::vector<std::string>{conv.impl_info_str(), reorder_of(roles, conv)};
            });
          },
          [](const ConvTranspose3dProblem& p) -> std::unique_ptr<Interface> { return std::make_unique<Kernel>(p); }};
}

}  // namespace

Engine<ConvTranspose3dProblem, ConvTranspose3dForward> conv_transpose3d_forward() {
  return engine<ConvTranspose3dForward, Forward, [](const Roles& r) { return r.forward(); }, odd_1x1x1>();
}
Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardData> conv_transpose3d_backward_data() {
  return engine<ConvTranspose3dBackwardData, BackwardData, [](const Roles& r) { return r.backward_data(true); }>();
}
Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardWeights> conv_transpose3d_backward_weights() {
  return engine<ConvTranspose3dBackwardWeights, BackwardWeights, [](const Roles& r) { return r.backward_weights(); }>();
}

}  // namespace metvox::onednn
