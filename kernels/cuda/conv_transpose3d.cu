// SPDX-License-Identifier: Apache-2.0
// Engine `native` of conv_transpose3d on a GPU and on the simulated one. Forward: one product of the voxels of x with
// columns (tap, k), whose store puts each block of columns where its tap lies (pixel shuffle). Backward data is a
// convolution of dy whose kernel equals its stride, backward weights the product of x and dy over the voxels of x.
#include <algorithm>

#include "kernels/conv_transpose3d_engines.h"
#include "kernels/cuda/convolution.h"
#include "kernels/cuda/gather_gemm.h"
#include "kernels/cuda/pixel_gemm.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

std::optional<std::string> declines(const ConvTranspose3dProblem& p) {
  return convolution_declines(p.device, p.dtype, p.tf32, p.stride, p.n * volume(p.out()));
}

class Forward final : public ConvTranspose3dForward {
 public:
  explicit Forward(const ConvTranspose3dProblem& p) : p_(p), gemm_(describe(p)) {}
  size_t packed_bytes() const override { return gemm_.packed_bytes(); }
  size_t scratch_bytes() const override { return gemm_.scratch_bytes(); }

  void pack(Stream& stream, View w, View b, void* packed) const override {
    p_.check_weights(w, b);
    gemm_.pack(stream, w.as<float>(), p_.bias ? b.as<float>() : nullptr, packed);
  }

  void run(Stream& stream, View x, const void* packed, View y, void* scratch) const override {
    p_.check_activations(x, y);
    gemm_.run(stream, x.data, nullptr, packed, {{y.data, nullptr}, {Grad::overwrite, Grad::ignore}}, scratch);
  }

 private:
  static GatherProblem describe(const ConvTranspose3dProblem& p) {
    const int64_t taps = volume(p.stride);
    GatherProblem g{.dtype = p.dtype, .tf32 = p.tf32, .c = {p.c, 0}, .columns = taps * p.k, .block_columns = p.k};
    g.to_c[0] = p.k, g.to_extent = p.out();
    g.w_column = taps, g.w_channel = p.k * taps, g.w_block = 1;
    GatherPart part{};
    part.taps = make_taps({p.n, p.in, {0, 0, 0}, {1, 1, 1}, 1, p.in, {1, 1, 1}});
    std::copy(p.stride.begin(), p.stride.end(), part.to_step);
    g.parts = {part};
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t d = t / (p.stride[1] * p.stride[2]), h = t / p.stride[2] % p.stride[1], w = t % p.stride[2];
      g.block_offset.push_back(static_cast<int>((d * g.to_extent[1] + h) * g.to_extent[2] + w));
    }
    return g;
  }

  ConvTranspose3dProblem p_;
  GatherGemm gemm_;
};

// The voxels of dy that each voxel of x went to.
Taps taps_of(const ConvTranspose3dProblem& p) {
  return make_taps({p.n, p.in, {0, 0, 0}, p.stride, 1, p.out(), p.stride});
}

class BackwardData final : public ConvTranspose3dBackwardData {
 public:
  explicit BackwardData(const ConvTranspose3dProblem& p) : p_(p), gemm_(describe(p)) {}
  size_t packed_bytes() const override { return gemm_.packed_bytes(); }
  size_t scratch_bytes() const override { return gemm_.scratch_bytes(); }
  bool accumulates() const override { return true; }

  void pack(Stream& stream, View w, void* packed) const override {
    p_.check_weights(w);
    gemm_.pack(stream, w.as<float>(), nullptr, packed);
  }

  void run(Stream& stream, View dy, const void* packed, View dx, Grad grad, void* scratch) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(dx, dy);
    gemm_.run(stream, dy.data, nullptr, packed, {{dx.data, nullptr}, {grad, Grad::ignore}}, scratch);
  }

 private:
  static GatherProblem describe(const ConvTranspose3dProblem& p) {
    const int64_t taps = volume(p.stride);
    GatherProblem g{.dtype = p.dtype, .tf32 = p.tf32, .c = {p.k, 0}, .columns = p.c, .block_columns = p.c};
    g.block_offset = {0};
    g.to_c[0] = p.c, g.to_extent = p.in;
    g.w_column = p.k * taps, g.w_channel = taps;
    g.parts = {whole_part(taps_of(p))};
    return g;
  }

  ConvTranspose3dProblem p_;
  GatherGemm gemm_;
};

class BackwardWeights final : public ConvTranspose3dBackwardWeights {
 public:
  explicit BackwardWeights(const ConvTranspose3dProblem& p)
      : p_(p), gemm_({p.dtype, p.tf32, p.c, {p.k, 0}, taps_of(p)}), sums_(p.dtype, p.n * volume(p.out()), p.k) {}
  size_t scratch_bytes() const override { return std::max(gemm_.scratch_bytes(), p_.bias ? sums_.scratch_bytes() : 0); }

  void run(Stream& stream, View x, View dy, View dw, View db, Grad grad, void* scratch) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(x, dy);
    p_.check_weights(dw, db);
    gemm_.run(stream, dy.data, nullptr, x.data, dw.as<float>(), grad, scratch);
    if (p_.bias) sums_.run(stream, dy.data, db.as<float>(), grad, scratch);
  }

 private:
  ConvTranspose3dProblem p_;
  PixelGemm gemm_;
  ChannelSums sums_;
};

template <class Interface, class Kernel>
std::unique_ptr<Interface> made(const ConvTranspose3dProblem& p) {
  p.validate();
  return std::make_unique<Kernel>(p);
}

}  // namespace

Engine<ConvTranspose3dProblem, ConvTranspose3dForward> conv_transpose3d_forward_native() {
  return {"native", kKernelDevice, declines, made<ConvTranspose3dForward, Forward>};
}
Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardData> conv_transpose3d_backward_data_native() {
  return {"native", kKernelDevice, declines, made<ConvTranspose3dBackwardData, BackwardData>};
}
Engine<ConvTranspose3dProblem, ConvTranspose3dBackwardWeights> conv_transpose3d_backward_weights_native() {
  return {"native", kKernelDevice, declines, made<ConvTranspose3dBackwardWeights, BackwardWeights>};
}

}  // namespace metvox::METVOX_KERNEL_NS
