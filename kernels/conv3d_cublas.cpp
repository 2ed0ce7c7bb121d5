// SPDX-License-Identifier: Apache-2.0
// Engine `cublas` of conv3d: kernels of one voxel, which are products of matrices. Images are (voxels, channels), w is
// (k, c); a second input is a second product that adds to the first. Has not run on hardware.
#include "kernels/conv3d_engines.h"
#include "kernels/cublas/product.h"

#if METVOX_CUBLAS
#include "kernels/cuda/pointwise.h"
#include "kernels/cuda/vendor_layout.h"
#include "tensor/align.h"

namespace metvox::cublas {
namespace {

// Of the problem whose kernel is one voxel.
int64_t voxels(const Conv3dProblem& p) { return p.n * volume(p.in); }
Matrix weights(const Conv3dProblem& p, const void* w, DType t, int64_t first) {
  return {static_cast<const std::byte*>(w) + static_cast<size_t>(first) * size_of(t), t, p.c + p.c2};
}
View packed_weights(const Conv3dProblem& p, void* packed) { return {packed, p.w_shape(), p.dtype, p.device}; }
size_t weight_bytes(const Conv3dProblem& p) { return aligned(packed_weights(p, nullptr).bytes()); }

class Forward final : public Conv3dForward {
 public:
  explicit Forward(const Conv3dProblem& p) : p_(p) {}
  size_t packed_bytes() const override { return weight_bytes(p_) + static_cast<size_t>(p_.k) * sizeof(float); }
  size_t scratch_bytes() const override { return kWorkspace; }

  void pack(Stream& stream, View w, View b, void* packed) const override {
    p_.check_weights(w, b);
    kgpu::convert(stream, w, packed_weights(p_, packed));
    if (p_.bias) transfer(stream, b, bias(packed));
  }
  void run(Stream& stream, View x, View x2, const void* packed, View y, void* scratch) const override {
    p_.check_activations(x, x2, y);
    const Matrix out{y.data, p_.dtype, p_.k};
    Product product{.m = voxels(p_), .n = p_.k, .inner = p_.c, .b_turned = true, .tf32 = p_.tf32};
    multiply(stream, product, {x.data, p_.dtype, p_.c}, weights(p_, packed, p_.dtype, 0), out, scratch);
    product.inner = p_.c2, product.adds = true;
    if (p_.c2) multiply(stream, product, {x2.data, p_.dtype, p_.c2}, weights(p_, packed, p_.dtype, p_.c), out, scratch);
    if (p_.bias) kgpu::add_bias(stream, bias(packed), y);
  }

 private:
  View bias(const void* packed) const {
    return {static_cast<std::byte*>(const_cast<void*>(packed)) + weight_bytes(p_), {p_.k}, DType::f32, p_.device};
  }
  Conv3dProblem p_;
};

class BackwardData final : public Conv3dBackwardData {
 public:
  explicit BackwardData(const Conv3dProblem& p) : p_(p) {}
  size_t packed_bytes() const override { return weight_bytes(p_); }
  size_t scratch_bytes() const override { return kWorkspace; }
  bool accumulates() const override { return true; }

  void pack(Stream& stream, View w, void* packed) const override {
    p_.check_weights(w);
    kgpu::convert(stream, w, packed_weights(p_, packed));
  }
  void run(Stream& stream, View dy, const void* packed, View dx, Grad grad, View dx2, Grad grad2,
           void* scratch) const override {
    p_.check_activations(dx, dx2, dy);
    const auto part = [&](const View& to, int64_t first, int64_t c, Grad how) {
      if (how == Grad::ignore) return;
      const Product product{.m = voxels(p_), .n = c, .inner = p_.k, .adds = how == Grad::accumulate, .tf32 = p_.tf32};
      multiply(stream, product, {dy.data, p_.dtype, p_.k}, weights(p_, packed, p_.dtype, first), {to.data, p_.dtype, c},
               scratch);
    };
    part(dx, 0, p_.c, grad);
    if (p_.c2) part(dx2, p_.c, p_.c2, grad2);
  }

 private:
  Conv3dProblem p_;
};

class BackwardWeights final : public Conv3dBackwardWeights {
 public:
  explicit BackwardWeights(const Conv3dProblem& p) : p_(p) {}
  size_t scratch_bytes() const override {
    const size_t sums = p_.bias ? kgpu::bias_gradient_scratch({nullptr, p_.y_shape(), p_.dtype, p_.device}) : 0;
    return std::max(kWorkspace, sums);
  }
  void run(Stream& stream, View x, View x2, View dy, View dw, View db, Grad grad, void* scratch) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(x, x2, dy);
    p_.check_weights(dw, db);
    const auto part = [&](const View& from, int64_t first, int64_t c) {
      const Product product{
          .m = p_.k, .n = c, .inner = voxels(p_), .a_turned = true, .adds = grad == Grad::accumulate, .tf32 = p_.tf32};
      multiply(stream, product, {dy.data, p_.dtype, p_.k}, {from.data, p_.dtype, c},
               weights(p_, dw.data, DType::f32, first), scratch);
    };
    part(x, 0, p_.c);
    if (p_.c2) part(x2, p_.c, p_.c2);
    if (p_.bias) kgpu::bias_gradient(stream, dy, db, grad, scratch);
  }

 private:
  Conv3dProblem p_;
};

std::optional<std::string> declines(const Conv3dProblem& p) {
  const Int3 ones{1, 1, 1}, none{0, 0, 0};
  if (p.kernel != ones || p.stride != ones || p.pad != none) return "only for kernels of one voxel";
  if (device_count(Device::Kind::cuda) == 0) return "no CUDA device on this machine";
  if (!library().why.empty()) return library().why;
  if (p.dtype != DType::f32 && p.dtype != DType::bf16 && p.dtype != DType::f16)
    return sentence("no ", name_of(p.dtype), " on a GPU");
  try {
    handle(p.device);
  } catch (const Error& e) {
    return e.what();
  }
  return std::nullopt;
}

template <class Interface, class Kernel>
Engine<Conv3dProblem, Interface> engine() {
  return {"cublas", Device::Kind::cuda, declines,
          [](const Conv3dProblem& p) -> std::unique_ptr<Interface> { return std::make_unique<Kernel>(p); }};
}

}  // namespace

Engine<Conv3dProblem, Conv3dForward> conv3d_forward() { return engine<Conv3dForward, Forward>(); }
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data() { return engine<Conv3dBackwardData, BackwardData>(); }
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights() {
  return engine<Conv3dBackwardWeights, BackwardWeights>();
}

}  // namespace metvox::cublas

#else
#include "kernels/left_out.h"

namespace metvox::cublas {

Engine<Conv3dProblem, Conv3dForward> conv3d_forward() { return left_out<Conv3dProblem, Conv3dForward>("cublas"); }
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data() {
  return left_out<Conv3dProblem, Conv3dBackwardData>("cublas");
}
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights() {
  return left_out<Conv3dProblem, Conv3dBackwardWeights>("cublas");
}

}  // namespace metvox::cublas
#endif
