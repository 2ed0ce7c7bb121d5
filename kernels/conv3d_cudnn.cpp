// SPDX-License-Identifier: Apache-2.0
// Engine `cudnn` of conv3d. A second input is a second convolution that adds to the first one's output (rounded in
// between). cuDNN knows several ways; kernels/tuner.h tries them. Its gradients of weights come in the type of the
// activations, where those of f16 may overflow: loss scaling heeds that, and a step is skipped.
// Engine `cudnn-any`: the same with the ways that `cudnn` leaves out, to compare with (kernels/engines_of.h).
// cuDNN has judged these plans for an H100 (tests/kernels/cudnn); that they compute right has not been seen on
// hardware.
#include "kernels/conv3d_engines.h"
#include "kernels/cudnn/ways.h"

#if METVOX_CUDNN
#include <algorithm>

#include "kernels/cuda/vendor_layout.h"
#include "tensor/align.h"

namespace metvox::cudnn {
namespace {

// One input's share of the problem: channels [first, first + p.c) of w.
struct Part {
  Conv3dProblem p;
  int64_t first;
  Shape filter_shape() const { return {p.k, p.c, p.kernel[0], p.kernel[1], p.kernel[2]}; }
  size_t filter_bytes() const { return aligned(static_cast<size_t>(filter_shape().size()) * size_of(p.dtype)); }
  View filter(const void* at) const { return {const_cast<void*>(at), filter_shape(), p.dtype, p.device}; }
};

std::vector<Part> parts_of(const Conv3dProblem& p) {
  std::vector<Part> parts{{p, 0}};
  parts[0].p.c2 = 0;
  if (p.c2) {
    parts.push_back(parts[0]);
    parts[1].p.c = p.c2, parts[1].first = p.c;
  }
  return parts;
}

const std::byte* after(const void* memory, size_t bytes) { return static_cast<const std::byte*>(memory) + bytes; }
std::byte* after(void* memory, size_t bytes) { return static_cast<std::byte*>(memory) + bytes; }

// The filters of all parts, one behind the other.
class Filters {
 public:
  explicit Filters(const std::vector<Part>& parts) : parts_(parts) {}
  size_t bytes() const { return offset(parts_.size()); }
  const std::byte* at(const void* packed, size_t part) const { return after(packed, offset(part)); }
  void pack(Stream& stream, const View& w, void* packed) const {
    for (size_t i = 0; i < parts_.size(); ++i)
      kgpu::take_filter(stream, w, parts_[i].first, parts_[i].filter(at(packed, i)));
  }

 private:
  size_t offset(size_t part) const {
    size_t bytes = 0;
    for (size_t i = 0; i < part; ++i) bytes += parts_[i].filter_bytes();
    return bytes;
  }
  std::vector<Part> parts_;
};

size_t workspace_of(const std::vector<Plan>& plans) {
  size_t bytes = 0;
  for (const Plan& plan : plans) bytes = std::max(bytes, plan.workspace_bytes());
  return aligned(bytes);
}

class Forward final : public Conv3dForward {
 public:
  Forward(const Conv3dProblem& p, const std::string& way, bool any) : p_(p), filters_(parts_of(p)) {
    for (const Part& part : parts_of(p)) {
      const Convolution c{part.p, Pass::forward, part.first > 0, any};
      plans_.push_back(part.first == 0 && !way.empty() ? plan_named(c, way) : plan(c, way));
    }
  }
  size_t packed_bytes() const override { return filters_.bytes() + static_cast<size_t>(p_.k) * sizeof(float); }
  size_t scratch_bytes() const override { return workspace_of(plans_); }

  void pack(Stream& stream, View w, View b, void* packed) const override {
    p_.check_weights(w, b);
    filters_.pack(stream, w, packed);
    if (p_.bias) transfer(stream, b, bias(packed));
  }
  void run(Stream& stream, View x, View x2, const void* packed, View y, void* scratch) const override {
    p_.check_activations(x, x2, y);
    plans_[0].run(stream, x.data, filters_.at(packed, 0), y.data, scratch);
    if (p_.c2) plans_[1].run(stream, x2.data, filters_.at(packed, 1), y.data, scratch);
    if (p_.bias) kgpu::add_bias(stream, bias(packed), y);
  }

 private:
  View bias(const void* packed) const {
    return {const_cast<std::byte*>(after(packed, filters_.bytes())), {p_.k}, DType::f32, p_.device};
  }
  Conv3dProblem p_;
  Filters filters_;
  std::vector<Plan> plans_;
};

class BackwardData final : public Conv3dBackwardData {
 public:
  BackwardData(const Conv3dProblem& p, const std::string& way, bool any) : p_(p), filters_(parts_of(p)) {
    for (const Part& part : parts_of(p)) {
      const Convolution c{part.p, Pass::backward_data, false, any};
      overwriting_.push_back(part.first == 0 && !way.empty() ? plan_named(c, way) : plan(c, way));
    }
    try {
      for (const Part& part : parts_of(p)) adding_.push_back(plan({part.p, Pass::backward_data, true, any}, way));
    } catch (const Error& e) {
      log("dispatch", "conv3d_backward_data,cudnn,cannot add to dx,", e.what());
      adding_.clear();
    }
  }
  size_t packed_bytes() const override { return filters_.bytes(); }
  size_t scratch_bytes() const override { return std::max(workspace_of(overwriting_), workspace_of(adding_)); }
  bool accumulates() const override { return !adding_.empty(); }

  void pack(Stream& stream, View w, void* packed) const override {
    p_.check_weights(w);
    filters_.pack(stream, w, packed);
  }
  void run(Stream& stream, View dy, const void* packed, View dx, Grad grad, View dx2, Grad grad2,
           void* scratch) const override {
    p_.check_activations(dx, dx2, dy);
    const auto part = [&](size_t i, const View& to, Grad how) {
      if (how == Grad::ignore) return;
      check(how == Grad::overwrite || accumulates(), "conv3d: engine cudnn cannot add to this dx");
      const Plan& chosen = (how == Grad::accumulate ? adding_ : overwriting_)[i];
      chosen.run(stream, to.data, filters_.at(packed, i), dy.data, scratch);
    };
    part(0, dx, grad);
    if (p_.c2) part(1, dx2, grad2);
  }

 private:
  Conv3dProblem p_;
  Filters filters_;
  std::vector<Plan> overwriting_, adding_;
};

class BackwardWeights final : public Conv3dBackwardWeights {
 public:
  BackwardWeights(const Conv3dProblem& p, const std::string& way, bool any) : p_(p), parts_(parts_of(p)) {
    for (const Part& part : parts_) {
      const Convolution c{part.p, Pass::backward_weights, false, any};
      plans_.push_back(part.first == 0 && !way.empty() ? plan_named(c, way) : plan(c, way));
      result_bytes_ = std::max(result_bytes_, part.filter_bytes());
    }
  }
  size_t scratch_bytes() const override {
    const size_t sums = p_.bias ? kgpu::bias_gradient_scratch({nullptr, p_.y_shape(), p_.dtype, p_.device}) : 0;
    return result_bytes_ + std::max(workspace_of(plans_), sums);
  }
  void run(Stream& stream, View x, View x2, View dy, View dw, View db, Grad grad, void* scratch) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(x, x2, dy);
    p_.check_weights(dw, db);
    void* rest = after(scratch, result_bytes_);
    for (size_t i = 0; i < parts_.size(); ++i) {
      plans_[i].run(stream, i == 0 ? x.data : x2.data, scratch, dy.data, rest);
      kgpu::give_filter(stream, parts_[i].filter(scratch), dw, parts_[i].first, grad);
    }
    if (p_.bias) kgpu::bias_gradient(stream, dy, db, grad, rest);
  }

 private:
  Conv3dProblem p_;
  std::vector<Part> parts_;
  std::vector<Plan> plans_;
  size_t result_bytes_ = 0;
};

template <class Interface, class Kernel, Pass pass, bool any>
Engine<Conv3dProblem, Interface> engine_of() {
  using Made = std::unique_ptr<Interface>;
  return {any ? "cudnn-any" : "cudnn",
          Device::Kind::cuda,
          [](const Conv3dProblem& p) { return declines(p.device, p.dtype); },
          [](const Conv3dProblem& p) -> Made { return std::make_unique<Kernel>(p, "", any); },
          nullptr,
          [](const Conv3dProblem& p) {
            return ways({parts_of(p)[0].p, pass, false, any});
          },
          [](const Conv3dProblem& p, const std::string& way) -> Made { return std::make_unique<Kernel>(p, way, any); }};
}

template <class Interface, class Kernel, Pass pass>
Engine<Conv3dProblem, Interface> engine(bool any) {
  return any ? engine_of<Interface, Kernel, pass, true>() : engine_of<Interface, Kernel, pass, false>();
}

}  // namespace

Engine<Conv3dProblem, Conv3dForward> conv3d_forward(bool any) {
  return engine<Conv3dForward, Forward, Pass::forward>(any);
}
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data(bool any) {
  return engine<Conv3dBackwardData, BackwardData, Pass::backward_data>(any);
}
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights(bool any) {
  return engine<Conv3dBackwardWeights, BackwardWeights, Pass::backward_weights>(any);
}

}  // namespace metvox::cudnn

#else
#include "kernels/left_out.h"

namespace metvox::cudnn {

Engine<Conv3dProblem, Conv3dForward> conv3d_forward(bool any) {
  return left_out<Conv3dProblem, Conv3dForward>(any ? "cudnn-any" : "cudnn");
}
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data(bool any) {
  return left_out<Conv3dProblem, Conv3dBackwardData>(any ? "cudnn-any" : "cudnn");
}
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights(bool any) {
  return left_out<Conv3dProblem, Conv3dBackwardWeights>(any ? "cudnn-any" : "cudnn");
}

}  // namespace metvox::cudnn
#endif
