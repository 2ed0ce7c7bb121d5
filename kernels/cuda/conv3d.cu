// SPDX-License-Identifier: Apache-2.0
// Engine `native` of conv3d on a GPU and on the simulated one: forward and backward data as gathered products
// (gather_gemm.cu), backward weights as a product over the pixels (pixel_gemm.cu), heads by
// themselves (conv3d_head.cu). Here the passes are only described to them.
#include <algorithm>

#include "kernels/conv3d_engines.h"
#include "kernels/cuda/conv3d_head.h"
#include "kernels/cuda/conv3d_passes.h"
#include "kernels/cuda/pixel_gemm.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

// What output voxels read.
Taps taps_of(const Conv3dProblem& p) {
  return make_taps({p.n, p.out(), {-p.pad[0], -p.pad[1], -p.pad[2]}, p.stride, 1, p.in, p.kernel});
}

// Along one axis, the voxels of x that the same taps reach: first, first + stride, ...; the j-th of them gets tap
// `tap` + stride u from output voxel j + origin - u.
struct Class {
  int64_t first, voxels, tap, taps, origin;
};
Class class_of(const Conv3dProblem& p, int axis, int64_t rest) {
  const int64_t s = p.stride[axis], first = ((rest - p.pad[axis]) % s + s) % s;
  return {first, first < p.in[axis] ? divided_up(p.in[axis] - first, s) : 0, rest,
          rest < p.kernel[axis] ? divided_up(p.kernel[axis] - rest, s) : 0, (first + p.pad[axis] - rest) / s};
}

}  // namespace

std::optional<std::string> conv3d_declines(const Conv3dProblem& p) {
  return convolution_declines(p.device, p.dtype, p.tf32, p.kernel, p.n * std::max(volume(p.in), volume(p.out())));
}

std::optional<std::string> conv3d_backward_data_declines(const Conv3dProblem& p) {
  if (auto reason = conv3d_declines(p)) return reason;
  if (std::max({p.stride[0], p.stride[1], p.stride[2]}) > 2) return "backward data is for strides 1 and 2";
  return std::nullopt;
}

GatherProblem conv3d_forward_product(const Conv3dProblem& p) {
  const int64_t taps = volume(p.kernel);
  GatherProblem g{.dtype = p.dtype, .tf32 = p.tf32, .c = {p.c, p.c2}, .columns = p.k, .block_columns = p.k};
  g.block_offset = {0};
  g.to_c[0] = p.k, g.to_extent = p.out();
  g.w_column = (p.c + p.c2) * taps, g.w_channel = taps;
  g.parts = {whole_part(taps_of(p))};
  return g;
}

GatherProblem conv3d_backward_data_product(const Conv3dProblem& p) {
  const int64_t taps = volume(p.kernel), c = p.c + p.c2;
  GatherProblem g{.dtype = p.dtype, .tf32 = p.tf32, .c = {p.k, 0}, .columns = c, .block_columns = c};
  g.block_offset = {0};
  g.to_c[0] = p.c, g.to_c[1] = p.c2, g.to_extent = p.in;
  g.w_column = taps, g.w_channel = c * taps;
  for (int64_t i = 0; i < volume(p.stride); ++i) {
    const Int3 rest{i / (p.stride[1] * p.stride[2]), i / p.stride[2] % p.stride[1], i % p.stride[2]};
    const Class at[3] = {class_of(p, 0, rest[0]), class_of(p, 1, rest[1]), class_of(p, 2, rest[2])};
    const auto each = [&](int64_t Class::*member) { return Int3{at[0].*member, at[1].*member, at[2].*member}; };
    const Int3 box = each(&Class::voxels), mine = each(&Class::taps);
    if (volume(box) == 0) continue;
    GatherPart part{};
    part.taps = make_taps({p.n, box, each(&Class::origin), {1, 1, 1}, -1, p.out(), mine});
    for (int t = 0; t < part.taps.count; ++t) {
      const Int3 u{t / (mine[1] * mine[2]), t / mine[2] % mine[1], t % mine[2]};
      int64_t tap = 0;
      for (int a = 0; a < 3; ++a) tap = tap * p.kernel[a] + at[a].tap + u[a] * p.stride[a];
      part.tap_of[t] = static_cast<int8_t>(tap);
    }
    for (int a = 0; a < 3; ++a) {
      part.to_origin[a] = static_cast<int>(at[a].first);
      part.to_step[a] = static_cast<int>(p.stride[a]);
    }
    g.parts.push_back(part);
  }
  return g;
}

namespace {

using Forward = Conv3dForwardBy<GatherGemm>;
using BackwardData = Conv3dBackwardDataBy<GatherGemm>;

class BackwardWeights final : public Conv3dBackwardWeights {
 public:
  explicit BackwardWeights(const Conv3dProblem& p)
      : p_(p), gemm_({p.dtype, p.tf32, p.k, {p.c, p.c2}, taps_of(p)}), sums_(p.dtype, p.n * volume(p.out()), p.k) {}
  size_t scratch_bytes() const override { return std::max(gemm_.scratch_bytes(), p_.bias ? sums_.scratch_bytes() : 0); }

  void run(Stream& stream, View x, View x2, View dy, View dw, View db, Grad grad, void* scratch) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(x, x2, dy);
    p_.check_weights(dw, db);
    gemm_.run(stream, x.data, x2.data, dy.data, dw.as<float>(), grad, scratch);
    if (p_.bias) sums_.run(stream, dy.data, db.as<float>(), grad, scratch);
  }

 private:
  Conv3dProblem p_;
  PixelGemm gemm_;
  ChannelSums sums_;
};

template <class Interface, class Kernel>
std::unique_ptr<Interface> made(const Conv3dProblem& p) {
  p.validate();
  if constexpr (std::is_same_v<Kernel, Forward>) {
    if (is_head(p)) return conv3d_head(p);
  }
  return std::make_unique<Kernel>(p);
}

}  // namespace

Engine<Conv3dProblem, Conv3dForward> conv3d_forward_native() {
  return {"native", kKernelDevice, conv3d_declines, made<Conv3dForward, Forward>};
}
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data_native() {
  return {"native", kKernelDevice, conv3d_backward_data_declines, made<Conv3dBackwardData, BackwardData>};
}
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights_native() {
  return {"native", kKernelDevice, conv3d_declines, made<Conv3dBackwardWeights, BackwardWeights>};
}

}  // namespace metvox::METVOX_KERNEL_NS
