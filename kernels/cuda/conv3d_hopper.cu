// SPDX-License-Identifier: Apache-2.0
// Engine `native_hopper` of conv3d: what plane_march.h and plane_weights.h can do, on sm_90 alone. It has not run on
// hardware yet.
#include <algorithm>

#include "kernels/conv3d_engines.h"
#include "kernels/cuda/convolution.h"
#include "kernels/cuda/pixel_gemm.h"
#include "kernels/cuda/plane_march.h"
#include "kernels/cuda/plane_weights.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

std::optional<std::string> declines(const Conv3dProblem& p, const PlanePass& pass) {
  if (auto reason = convolution_declines(p.device, p.dtype, p.tf32, p.kernel, p.n * volume(p.in))) return reason;
  if (device_arch(p.device) != 900) return "needs sm_90";
  if (p.dtype != DType::bf16 && p.dtype != DType::f16) return sentence("for bf16 and f16, not ", name_of(p.dtype));
  if (p.kernel != Int3{3, 3, 3} || p.stride != Int3{1, 1, 1} || p.pad != Int3{1, 1, 1})
    return "for kernels of 3x3x3, stride 1, padding 1";
  for (int64_t c : {p.c, p.c2, p.k})
    if (c % 16) return "for multiples of 16 channels";
  if (pass.channels() > kMostPlaneChannels || pass.columns() > kMostPlaneColumns)
    return sentence("for at most ", kMostPlaneChannels, " channels in and ", kMostPlaneColumns, " out");
  return std::nullopt;
}

PlanePass forward_pass(const Conv3dProblem& p) {
  return {p.dtype, p.n, p.in, {p.c, p.c2}, {p.k, 0}, (p.c + p.c2) * 27, 27, false};
}
PlanePass backward_data_pass(const Conv3dProblem& p) {
  return {p.dtype, p.n, p.in, {p.k, 0}, {p.c, p.c2}, 27, (p.c + p.c2) * 27, true};
}

// Many channels on both sides use each voxel that L2 brings often enough.
std::string_view yields(const PlanePass& pass) {
  return pass.channels() >= 128 && pass.columns() >= 128 ? "native_im2col" : "";
}

class Forward final : public Conv3dForward {
 public:
  explicit Forward(const Conv3dProblem& p) : p_(p), march_(forward_pass(p)) {}
  size_t packed_bytes() const override { return march_.packed_bytes(); }

  void pack(Stream& stream, View w, View b, void* packed) const override {
    p_.check_weights(w, b);
    march_.pack(stream, w.as<float>(), p_.bias ? b.as<float>() : nullptr, packed);
  }
  void run(Stream& stream, View x, View x2, const void* packed, View y, void*) const override {
    p_.check_activations(x, x2, y);
    march_.run(stream, {x, x2}, packed, {{y, {}}, {Grad::overwrite, Grad::ignore}});
  }
  int64_t moment_chunks() const override { return p_.moments ? march_.moment_chunks() : 0; }
  void run_with_moments(Stream& stream, View x, View x2, const void* packed, View y, View moments,
                        void*) const override {
    p_.check_activations(x, x2, y);
    p_.check_moments(moments, moment_chunks());
    march_.run(stream, {x, x2}, packed, {{y, {}}, {Grad::overwrite, Grad::ignore}, moments});
  }

 private:
  Conv3dProblem p_;
  PlaneMarch march_;
};

class BackwardData final : public Conv3dBackwardData {
 public:
  explicit BackwardData(const Conv3dProblem& p) : p_(p), march_(backward_data_pass(p)) {}
  size_t packed_bytes() const override { return march_.packed_bytes(); }
  bool accumulates() const override { return true; }

  void pack(Stream& stream, View w, void* packed) const override {
    p_.check_weights(w);
    march_.pack(stream, w.as<float>(), nullptr, packed);
  }
  void run(Stream& stream, View dy, const void* packed, View dx, Grad grad, View dx2, Grad grad2,
           void*) const override {
    p_.check_activations(dx, dx2, dy);
    if (grad == Grad::ignore && grad2 == Grad::ignore) return;
    march_.run(stream, {dy, {}}, packed, {{dx, dx2}, {grad, grad2}});
  }

 private:
  Conv3dProblem p_;
  PlaneMarch march_;
};

class BackwardWeights final : public Conv3dBackwardWeights {
 public:
  explicit BackwardWeights(const Conv3dProblem& p)
      : p_(p), weights_(p.dtype, p.n, p.in, {p.c, p.c2}, p.k), sums_(p.dtype, p.n * volume(p.in), p.k) {}
  size_t scratch_bytes() const override {
    return std::max(weights_.scratch_bytes(), p_.bias ? sums_.scratch_bytes() : 0);
  }

  void run(Stream& stream, View x, View x2, View dy, View dw, View db, Grad grad, void* scratch) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(x, x2, dy);
    p_.check_weights(dw, db);
    weights_.run(stream, x, x2, dy, dw.as<float>(), grad, scratch);
    if (p_.bias) sums_.run(stream, dy.data, db.as<float>(), grad, scratch);
  }

 private:
  Conv3dProblem p_;
  PlaneWeights weights_;
  ChannelSums sums_;
};

template <class Interface, class Kernel>
std::unique_ptr<Interface> made(const Conv3dProblem& p) {
  p.validate();
  return std::make_unique<Kernel>(p);
}

}  // namespace

Engine<Conv3dProblem, Conv3dForward> conv3d_forward_native_hopper() {
  return {"native_hopper", kKernelDevice, [](const Conv3dProblem& p) { return declines(p, forward_pass(p)); },
          made<Conv3dForward, Forward>, [](const Conv3dProblem& p) { return yields(forward_pass(p)); }};
}
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data_native_hopper() {
  return {"native_hopper", kKernelDevice, [](const Conv3dProblem& p) { return declines(p, backward_data_pass(p)); },
          made<Conv3dBackwardData, BackwardData>, [](const Conv3dProblem& p) { return yields(backward_data_pass(p)); }};
}
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights_native_hopper() {
  return {"native_hopper", kKernelDevice, [](const Conv3dProblem& p) { return declines(p, forward_pass(p)); },
          made<Conv3dBackwardWeights, BackwardWeights>};
}

}  // namespace metvox::METVOX_KERNEL_NS
