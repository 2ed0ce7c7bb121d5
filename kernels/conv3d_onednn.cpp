// SPDX-License-Identifier: Apache-2.0
// Engine `onednn` of conv3d. A second input is a second convolution that adds to the first one's output: views of some of
// the channels would fall to oneDNN's slow implementation, and copies of whole activations cost more.
#include <algorithm>
#include <cstring>

#include "kernels/conv3d_engines.h"
#include "kernels/cpu/bias.h"
#include "kernels/onednn/onednn.h"

namespace metvox::onednn {
namespace {

using Convolve = dnnl::convolution_forward;
using ConvolveBackData = dnnl::convolution_backward_data;
using ConvolveBackWeights = dnnl::convolution_backward_weights;
constexpr auto kDirect = dnnl::algorithm::convolution_direct;

// One input's share of the problem: channels [first, first + c) of w.
struct Part {
  const Conv3dProblem& p;
  int64_t first, c;

  dnnl::memory::desc x() const { return activation(p.n, c, p.in, p.dtype); }
  dnnl::memory::desc y() const { return activation(p.n, p.k, p.out(), p.dtype); }
  dnnl::memory::desc w(DType t) const { return weights_any(p.k, c, p.kernel, t); }
  dnnl::memory::desc master() const {
    return weights(p.k, p.c + p.c2, p.kernel, DType::f32)
        .submemory_desc({p.k, c, p.kernel[0], p.kernel[1], p.kernel[2]}, {0, first, 0, 0, 0});
  }
  bool biased() const { return p.bias && first == 0; }

  Convolve::primitive_desc forward() const {
    const auto kind = dnnl::prop_kind::forward_training;
    const auto stride = dims_of(p.stride), pad = dims_of(p.pad);
    const dnnl::memory::desc b({p.k}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::a);
    const auto desc = biased() ? Convolve::desc(kind, kDirect, x(), w(p.dtype), b, y(), stride, pad, pad)
                               : Convolve::desc(kind, kDirect, x(), w(p.dtype), y(), stride, pad, pad);
    return {desc, attributes(first > 0), cpu_engine()};
  }
  Convolve::primitive_desc hint() const {
    const auto pad = dims_of(p.pad);
    return {{dnnl::prop_kind::forward_training, kDirect, x(), w(p.dtype), y(), dims_of(p.stride), pad, pad}, cpu_engine()};
  }
  ConvolveBackData::primitive_desc backward_data() const {
    const auto pad = dims_of(p.pad);
    return {{kDirect, x(), w(p.dtype), y(), dims_of(p.stride), pad, pad}, attributes(), cpu_engine(), hint()};
  }
  ConvolveBackWeights::primitive_desc backward_weights() const {
    const auto pad = dims_of(p.pad);
    return {{kDirect, x(), w(DType::f32), y(), dims_of(p.stride), pad, pad}, attributes(), cpu_engine(), hint()};
  }
};

std::vector<Part> parts_of(const Conv3dProblem& p) {
  std::vector<Part> parts{{p, 0, p.c}};
  if (p.c2) parts.push_back({p, p.c, p.c2});
  return parts;
}

class Forward final : public Conv3dForward {
 public:
  explicit Forward(const Conv3dProblem& p) : p_(p) {
    for (const Part& part : parts_of(p_)) {
      const auto conv = part.forward();
      std::vector<Call::Argument> arguments{
          {DNNL_ARG_SRC, conv.src_desc()}, {DNNL_ARG_WEIGHTS, conv.weights_desc()}, {DNNL_ARG_DST, conv.dst_desc()}};
      if (part.biased()) arguments.push_back({DNNL_ARG_BIAS, conv.bias_desc()});
      convolutions_.emplace_back(Convolve(conv), conv.scratchpad_desc(), arguments);
      weights_.add(part.master(), conv.weights_desc());
      scratch_bytes_ = std::max(scratch_bytes_, convolutions_.back().scratch_bytes());
    }
  }
  size_t packed_bytes() const override { return weights_.bytes() + static_cast<size_t>(p_.k) * sizeof(float); }
  size_t scratch_bytes() const override { return scratch_bytes_; }

  void pack(Stream&, View w, View b, void* packed) const override {
    p_.check_weights(w, b);
    weights_.pack(w.data, packed);
    if (p_.bias) std::memcpy(at(packed, weights_.bytes()), b.data, b.bytes());
  }

  void run(Stream&, View x, View x2, const void* packed, View y, void* scratch) const override {
    p_.check_activations(x, x2, y);
    void* w = weights_.at(packed, 0);
    if (p_.bias) convolutions_[0]({x.data, w, y.data, at(packed, weights_.bytes())}, scratch);
    else convolutions_[0]({x.data, w, y.data}, scratch);
    if (p_.c2) convolutions_[1]({x2.data, weights_.at(packed, 1), y.data}, scratch);
  }

 private:
  Conv3dProblem p_;
  std::vector<Call> convolutions_;
  PackedWeights weights_;
  size_t scratch_bytes_ = 0;
};

class BackwardData final : public Conv3dBackwardData {
 public:
  explicit BackwardData(const Conv3dProblem& p) : p_(p) {
    for (const Part& part : parts_of(p_)) {
      const auto conv = part.backward_data();
      convolutions_.emplace_back(ConvolveBackData(conv), conv.scratchpad_desc(),
                                 std::vector<Call::Argument>{{DNNL_ARG_DIFF_DST, conv.diff_dst_desc()},
                                                             {DNNL_ARG_WEIGHTS, conv.weights_desc()},
                                                             {DNNL_ARG_DIFF_SRC, conv.diff_src_desc()}});
      weights_.add(part.master(), conv.weights_desc());
      scratch_bytes_ = std::max(scratch_bytes_, convolutions_.back().scratch_bytes());
    }
  }
  size_t packed_bytes() const override { return weights_.bytes(); }
  size_t scratch_bytes() const override { return scratch_bytes_; }

  void pack(Stream&, View w, void* packed) const override {
    p_.check_weights(w);
    weights_.pack(w.data, packed);
  }

  void run(Stream&, View dy, const void* packed, View dx, Grad grad, View dx2, Grad grad2, void* scratch) const override {
    p_.check_activations(dx, dx2, dy);
    check(grad != Grad::accumulate && grad2 != Grad::accumulate, "conv3d: engine onednn cannot add to dx");
    if (grad == Grad::overwrite) convolutions_[0]({dy.data, weights_.at(packed, 0), dx.data}, scratch);
    if (grad2 == Grad::overwrite) convolutions_[1]({dy.data, weights_.at(packed, 1), dx2.data}, scratch);
  }

 private:
  Conv3dProblem p_;
  std::vector<Call> convolutions_;
  PackedWeights weights_;
  size_t scratch_bytes_ = 0;
};

class BackwardWeights final : public Conv3dBackwardWeights {
 public:
  explicit BackwardWeights(const Conv3dProblem& p) : p_(p), bias_gradient_(p.k) {
    size_t result = 0, inner = p_.bias ? bias_gradient_.scratch_bytes() : 0;
    for (const Part& part : parts_of(p_)) {
      const auto conv = part.backward_weights();
      convolutions_.emplace_back(ConvolveBackWeights(conv), conv.scratchpad_desc(),
                                 std::vector<Call::Argument>{{DNNL_ARG_SRC, conv.src_desc()},
                                                             {DNNL_ARG_DIFF_DST, conv.diff_dst_desc()},
                                                             {DNNL_ARG_DIFF_WEIGHTS, conv.diff_weights_desc()}});
      unpack_.emplace_back(conv.diff_weights_desc(), part.master());
      result = std::max(result, conv.diff_weights_desc().get_size());
      inner = std::max({inner, convolutions_.back().scratch_bytes(), unpack_.back().scratch_bytes()});
    }
    result_ = layout_.add(result);
    inner_ = layout_.add(inner);
  }
  size_t scratch_bytes() const override { return layout_.bytes(); }

  void run(Stream&, View x, View x2, View dy, View dw, View db, Grad grad, void* scratch) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(x, x2, dy);
    p_.check_weights(dw, db);
    void* result = at(scratch, result_);
    void* inner = at(scratch, inner_);
    for (size_t i = 0; i < convolutions_.size(); ++i) {
      convolutions_[i]({i == 0 ? x.data : x2.data, dy.data, result}, inner);
      unpack_[i](result, dw.data, grad, inner);
    }
    if (p_.bias) bias_gradient_(dy, db, grad, inner);
  }

 private:
  Conv3dProblem p_;
  std::vector<Call> convolutions_;
  std::vector<WriteGradient> unpack_;
  metvox::cpu::BiasGradient bias_gradient_;
  Layout layout_;
  size_t result_, inner_;
};

// Wrong results of oneDNN 2.6.3, found by tests/kernels/conv3d_test.cpp.
std::optional<std::string> sound(const Conv3dProblem&) { return std::nullopt; }
std::optional<std::string> odd_1x1x1(const Conv3dProblem& p) {
  if (p.dtype != DType::bf16 || volume(p.kernel) != 1 || p.k % 2 == 0) return std::nullopt;
  return "oneDNN 2.6 sums one channel too many backwards through a bf16 1x1x1 kernel with an odd number of outputs";
}
std::optional<std::string> shallow_stride(const Conv3dProblem& p) {
  if (p.dtype != DType::bf16 || p.stride[0] == 1 || p.pad[0] == 0 || p.in[0] > p.kernel[0]) return std::nullopt;
  return "oneDNN 2.6 gets bf16 weight gradients wrong where a stride leaves no slice free of padding";
}

template <class Interface, class Kernel, auto describe, auto fault>
Engine<Conv3dProblem, Interface> engine() {
  return {"onednn", Device::Kind::cpu,
          [](const Conv3dProblem& p) -> std::optional<std::string> {
            p.validate();
            if (auto reason = declines_type(p.dtype)) return reason;
            if (auto reason = fault(p)) return reason;
            return refusal([&] {
              std::vector<std::string> names;
              for (const Part& part : parts_of(p)) names.emplace_back((part.*describe)().impl_info_str());
              return names;
            });
          },
          [](const Conv3dProblem& p) -> std::unique_ptr<Interface> { return std::make_unique<Kernel>(p); }};
}

}  // namespace

Engine<Conv3dProblem, Conv3dForward> conv3d_forward() { return engine<Conv3dForward, Forward, &Part::forward, sound>(); }
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data() {
  return engine<Conv3dBackwardData, BackwardData, &Part::backward_data, odd_1x1x1>();
}
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights() {
  return engine<Conv3dBackwardWeights, BackwardWeights, &Part::backward_weights, shallow_stride>();
}

}  // namespace metvox::onednn
