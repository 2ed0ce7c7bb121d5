// SPDX-License-Identifier: Apache-2.0
// Engine `onednn` of conv3d. A second input is a second convolution that adds to the first one's output: views of some
// of the channels would fall to oneDNN's slow implementation, and copies of whole activations cost more.
#include <algorithm>
#include <cstring>

#include "kernels/conv3d_engines.h"
#include "kernels/cpu/bias.h"
#include "kernels/onednn/onednn.h"
#include "kernels/pointwise.h"
#include "tensor/threads.h"

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
    return {{dnnl::prop_kind::forward_training, kDirect, x(), w(p.dtype), y(), dims_of(p.stride), pad, pad},
            cpu_engine()};
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

// oneDNN 2.6.3 sums one channel too many backwards through a bf16 1x1x1 kernel with an odd number of outputs: such a
// problem gets one output more, whose weights and gradients are zero.
Conv3dProblem with_sound_outputs(Conv3dProblem p) {
  if (p.dtype == DType::bf16 && volume(p.kernel) == 1) p.k += p.k % 2;
  return p;
}

class BackwardData final : public Conv3dBackwardData {
 public:
  explicit BackwardData(const Conv3dProblem& p) : p_(p), computed_(with_sound_outputs(p)) {
    size_t inner = 0;
    for (const Part& part : parts_of(computed_)) {
      const auto conv = part.backward_data();
      convolutions_.emplace_back(ConvolveBackData(conv), conv.scratchpad_desc(),
                                 std::vector<Call::Argument>{{DNNL_ARG_DIFF_DST, conv.diff_dst_desc()},
                                                             {DNNL_ARG_WEIGHTS, conv.weights_desc()},
                                                             {DNNL_ARG_DIFF_SRC, conv.diff_src_desc()}});
      weights_.add(part.master(), conv.weights_desc());
      inner = std::max(inner, convolutions_.back().scratch_bytes());
    }
    inner_ = scratch_.add(inner);
    if (widened()) widened_dy_ = scratch_.add(View{nullptr, computed_.y_shape(), p.dtype}.bytes());
  }
  size_t packed_bytes() const override { return weights_.bytes() + (widened() ? widened_weights().bytes() : 0); }
  size_t scratch_bytes() const override { return scratch_.bytes(); }

  void pack(Stream&, View w, void* packed) const override {
    p_.check_weights(w);
    if (!widened()) return weights_.pack(w.data, packed);
    float* wide = static_cast<float*>(at(packed, weights_.bytes()));
    std::memcpy(wide, w.data, w.bytes());
    std::fill(wide + w.size(), wide + widened_weights().size(), 0.0f);
    weights_.pack(wide, packed);
  }

  void run(Stream&, View dy, const void* packed, View dx, Grad grad, View dx2, Grad grad2,
           void* scratch) const override {
    p_.check_activations(dx, dx2, dy);
    check(grad != Grad::accumulate && grad2 != Grad::accumulate, "conv3d: engine onednn cannot add to dx");
    void* from = widened() ? widen(dy, at(scratch, widened_dy_)) : dy.data;
    if (grad == Grad::overwrite) convolutions_[0]({from, weights_.at(packed, 0), dx.data}, at(scratch, inner_));
    if (grad2 == Grad::overwrite) convolutions_[1]({from, weights_.at(packed, 1), dx2.data}, at(scratch, inner_));
  }

 private:
  bool widened() const { return computed_.k > p_.k; }
  View widened_weights() const { return {nullptr, computed_.w_shape(), DType::f32}; }
  void* widen(const View& dy, void* memory) const {
    const bf16* from = dy.as<bf16>();
    bf16* to = static_cast<bf16*>(memory);
    parallel_for(dy.size() / p_.k, 4096, [&](int64_t first, int64_t last) {
      for (int64_t v = first; v < last; ++v) {
        for (int64_t k = 0; k < p_.k; ++k) to[v * computed_.k + k] = from[v * p_.k + k];
        to[v * computed_.k + p_.k] = bf16(0.0f);
      }
    });
    return memory;
  }

  Conv3dProblem p_, computed_;
  std::vector<Call> convolutions_;
  PackedWeights weights_;
  Layout scratch_;
  size_t inner_, widened_dy_ = 0;
};

// oneDNN 2.6.3 gets bf16 weight gradients wrong where a stride leaves no slice free of padding: such a problem, of a
// few slices, is computed in f32.
Conv3dProblem in_sound_type(Conv3dProblem p) {
  if (p.stride[0] > 1 && p.pad[0] > 0 && p.in[0] <= p.kernel[0]) p.dtype = DType::f32;
  return p;
}

class BackwardWeights final : public Conv3dBackwardWeights {
 public:
  explicit BackwardWeights(const Conv3dProblem& p) : p_(p), computed_(in_sound_type(p)), bias_gradient_(p.k) {
    size_t result = 0, inner = p_.bias ? bias_gradient_.scratch_bytes() : 0;
    for (const Part& part : parts_of(computed_)) {
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
    if (!converted()) return;
    x_ =
        layout_.add(View{nullptr, Shape{p.n, std::max(p.c, p.c2), p.in[0], p.in[1], p.in[2]}, computed_.dtype}.bytes());
    dy_ = layout_.add(View{nullptr, p.y_shape(), computed_.dtype}.bytes());
  }
  size_t scratch_bytes() const override { return layout_.bytes(); }

  void run(Stream& stream, View x, View x2, View dy, View dw, View db, Grad grad, void* scratch) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(x, x2, dy);
    p_.check_weights(dw, db);
    void* result = at(scratch, result_);
    void* inner = at(scratch, inner_);
    void* gradient = computed(stream, dy, scratch, dy_);
    for (size_t i = 0; i < convolutions_.size(); ++i) {
      convolutions_[i]({computed(stream, i == 0 ? x : x2, scratch, x_), gradient, result}, inner);
      unpack_[i](result, dw.data, grad, inner);
    }
    if (p_.bias) bias_gradient_(dy, db, grad, inner);
  }

 private:
  bool converted() const { return computed_.dtype != p_.dtype; }
  // The image in the type of the computation.
  void* computed(Stream& stream, const View& image, void* scratch, size_t offset) const {
    if (!converted()) return image.data;
    const View copy{at(scratch, offset), image.shape, computed_.dtype};
    convert(stream, image, copy);
    return copy.data;
  }

  Conv3dProblem p_, computed_;
  std::vector<Call> convolutions_;
  std::vector<WriteGradient> unpack_;
  metvox::cpu::BiasGradient bias_gradient_;
  Layout layout_;
  size_t result_, inner_, x_ = 0, dy_ = 0;
};

Conv3dProblem as_given(Conv3dProblem p) { return p; }

// `describe` and `reorder` name what the kernel would run for the problem as `computed`.
template <class Interface, class Kernel, auto describe, auto reorder, auto computed>
Engine<Conv3dProblem, Interface> engine() {
  return {"onednn", Device::Kind::cpu,
          [](const Conv3dProblem& p) -> std::optional<std::string> {
            p.validate();
            if (auto reason = declines_type(p.dtype)) return reason;
            return refusal([&] {
              std::vector<std::string> names;
              const Conv3dProblem q = computed(p);
              for (const Part& part : parts_of(q)) {
                const auto conv = (part.*describe)();
                names.emplace_back(conv.impl_info_str());
                names.push_back(reorder(conv, part.master()));
              }
              return names;
            });
          },
          [](const Conv3dProblem& p) -> std::unique_ptr<Interface> { return std::make_unique<Kernel>(p); }};
}
constexpr auto kPack = [](const auto& conv, const dnnl::memory::desc& master) {
  return reorder_name(master, conv.weights_desc());
};
constexpr auto kUnpack = [](const auto& conv, const dnnl::memory::desc& master) {
  return reorder_name(conv.diff_weights_desc(), master);
};

}  // namespace

Engine<Conv3dProblem, Conv3dForward> conv3d_forward() {
  return engine<Conv3dForward, Forward, &Part::forward, kPack, as_given>();
}
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data() {
  return engine<Conv3dBackwardData, BackwardData, &Part::backward_data, kPack, with_sound_outputs>();
}
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights() {
  return engine<Conv3dBackwardWeights, BackwardWeights, &Part::backward_weights, kUnpack, in_sound_type>();
}

}  // namespace metvox::onednn
