// SPDX-License-Identifier: Apache-2.0
// Engine `native` of conv3d: stride 1, best with few channels, of which oneDNN makes its vectors; here they are of 16
// neighbouring voxels. Each thread turns the slices it needs into planes, a few slices at a time, and keeps them in its
// cache; backward data is the same with w turned round.
#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/conv3d_engines.h"
#include "kernels/convert.h"
#include "kernels/cpu/bias.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/planes.h"
#include "tensor/threads.h"

namespace metvox::native {
namespace {

int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// A stride-1 convolution of one or two images of `in` voxels by way of planes. In pairs, two bf16 channels are one
// element.
struct Geometry {
  int64_t n, c, c2;
  Int3 in, kernel, pad, out;
  DType dtype;
  bool pairs;

  int element() const { return dtype == DType::bf16 && !pairs ? 2 : 4; }
  int64_t planes(int64_t channels) const { return pairs ? (channels + 1) / 2 : channels; }
  int64_t channels() const { return planes(c) + planes(c2); }
  int64_t pitch() const { return in[2] + 2 * pad[2]; }
  int64_t plane() const { return up((in[1] + 2 * pad[1]) * pitch() + kSlack, 64); }
  int64_t positions() const { return (out[1] - 1) * pitch() + out[2]; }
  int64_t out_plane() const { return up(out[1] * pitch() + kSlack, 64); }
  int64_t slices() const { return n * out[0]; }
  size_t ring_bytes() const {
    return static_cast<size_t>(kernel[0] * channels() * plane()) * static_cast<size_t>(element());
  }
};

// The input slices under a moving window of output slices, as planes.
class Ring {
 public:
  Ring(const Geometry& g, void* memory) : g_(g), memory_(static_cast<std::byte*>(memory)) {
    std::memset(memory, 0, g.ring_bytes());
    std::fill(std::begin(held_), std::end(held_), -1);
  }

  PlaneSlice slice(const View& x, const View& x2, int64_t index) {
    PlaneSlice s{{}, g_.plane(), g_.channels(), g_.kernel[0], g_.kernel[1], g_.kernel[2], g_.pitch(), g_.positions()};
    const int64_t n = index / g_.out[0], d = index % g_.out[0];
    for (int64_t t = 0; t < g_.kernel[0]; ++t) {
      const int64_t padded = n * (g_.in[0] + 2 * g_.pad[0]) + d + t, slot = padded % g_.kernel[0];
      std::byte* planes = memory_ + slot * g_.channels() * g_.plane() * g_.element();
      if (held_[slot] != padded) fill(x, x2, n, d + t - g_.pad[0], planes);
      held_[slot] = padded;
      s.source[t] = planes;
    }
    return s;
  }

 private:
  void fill(const View& x, const View& x2, int64_t n, int64_t d, std::byte* planes) const {
    if (d < 0 || d >= g_.in[0]) {
      std::memset(planes, 0, g_.ring_bytes() / static_cast<size_t>(g_.kernel[0]));
      return;
    }
    spread(x, g_.c, n, d, planes);
    if (g_.c2) spread(x2, g_.c2, n, d, planes + g_.planes(g_.c) * g_.plane() * g_.element());
  }
  void spread(const View& image, int64_t channels, int64_t n, int64_t d, std::byte* planes) const {
    const int64_t voxel = (n * g_.in[0] + d) * g_.in[1] * g_.in[2];
    const auto* from =
        static_cast<const std::byte*>(image.data) + voxel * channels * static_cast<int64_t>(size_of(g_.dtype));
    std::byte* to = planes + (g_.pad[1] * g_.pitch() + g_.pad[2]) * g_.element();
    if (g_.pairs)
      METVOX_ISA_CALL(pair_planes_from_rows)
      (reinterpret_cast<const uint16_t*>(from), g_.in[1], g_.in[2], channels, reinterpret_cast<uint16_t*>(to),
       g_.plane(), g_.pitch());
    else
      METVOX_ISA_CALL(planes_from_rows)
      (from, g_.in[1], g_.in[2], channels, channels, g_.element(), to, g_.plane(), g_.pitch());
  }

  const Geometry& g_;
  std::byte* memory_;
  int64_t held_[3];
};

// One thread's memory: a ring of source planes and a slice of the other image.
struct Piece {
  size_t bytes, ring, slice;
};
Piece piece_of(const Geometry& g, size_t slice_bytes) {
  const size_t ring = static_cast<size_t>(up(static_cast<int64_t>(g.ring_bytes()), 64));
  const size_t slice = static_cast<size_t>(up(static_cast<int64_t>(slice_bytes), 64));
  return {ring + slice, 0, ring};
}

// Weights as the loops read them: for each block of 8 outputs its bias, then [taps_d][planes][taps_h][taps_w][8].
class Convolution {
 public:
  Convolution(const Geometry& g, int64_t outputs)
      : g_(g),
        k_(outputs),
        pieces_(std::min<int64_t>(threads(), g.slices())),
        piece_(piece_of(g, sizeof(float) * static_cast<size_t>(kOutputs * g.out_plane()))) {}

  int64_t block() const { return kOutputs + volume(g_.kernel) * g_.channels() * kOutputs; }
  size_t packed_bytes() const { return static_cast<size_t>(up(k_, kOutputs) / kOutputs * block()) * sizeof(float); }
  size_t scratch_bytes() const { return static_cast<size_t>(pieces_) * piece_.bytes; }

  // weight(k, c, tap) and bias(k), for k below the number of outputs.
  template <class Weight, class Bias>
  void pack(void* packed, Weight&& weight, Bias&& bias) const {
    std::memset(packed, 0, packed_bytes());
    auto* words = static_cast<float*>(packed);
    const int64_t taps = volume(g_.kernel), in_plane = g_.kernel[1] * g_.kernel[2];
    for (int64_t k = 0; k < k_; ++k) {
      float* to = words + k / kOutputs * block() + k % kOutputs;
      *to = bias(k);
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t c = 0; c < g_.channels(); ++c) {
          float& word = to[(1 + (t / in_plane * g_.channels() + c) * in_plane + t % in_plane) * kOutputs];
          word = g_.pairs ? pair(k, c, t, weight) : weight(k, c, t);
        }
    }
  }

  // Outputs [first, first + count) into y, an image of that many channels.
  struct Output {
    View y;
    int64_t first, count;
    bool add;
  };
  void run(const View& x, const View& x2, const void* packed, std::initializer_list<Output> outputs,
           void* scratch) const {
    parallel_for(pieces_, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        auto* memory = static_cast<std::byte*>(scratch) + static_cast<size_t>(i) * piece_.bytes;
        Ring ring(g_, memory + piece_.ring);
        for (int64_t s = g_.slices() * i / pieces_; s < g_.slices() * (i + 1) / pieces_; ++s)
          slice(ring.slice(x, x2, s), static_cast<const float*>(packed), s, outputs,
                reinterpret_cast<float*>(memory + piece_.slice));
      }
    });
  }

 private:
  // The weights of plane q's two channels; the second input starts a plane of its own.
  template <class Weight>
  float pair(int64_t k, int64_t q, int64_t t, Weight&& weight) const {
    const int64_t first = g_.planes(g_.c);
    const int64_t c = q < first ? 2 * q : g_.c + 2 * (q - first), end = q < first ? g_.c : g_.c + g_.c2;
    const uint32_t low = bf16(weight(k, c, t)).bits, high = c + 1 < end ? bf16(weight(k, c + 1, t)).bits : 0;
    return std::bit_cast<float>(low | high << 16);
  }

  void slice(const PlaneSlice& source, const float* words, int64_t s, std::initializer_list<Output> outputs,
             float* planes) const {
    const int64_t plane = g_.out_plane();
    for (int64_t k = 0; k < k_; k += kOutputs, words += block()) {
      const float* w = words + kOutputs;
      if (g_.pairs) METVOX_ISA_CALL(convolve_pairs)(source, reinterpret_cast<const uint32_t*>(w), words, planes, plane);
      else METVOX_ISA_CALL(convolve_f32)(source, w, words, planes, plane);
      for (const Output& t : outputs) store(t, s, k, planes);
    }
  }

  // The channels that the block at k and the output share.
  void store(const Output& t, int64_t s, int64_t k, const float* planes) const {
    const int64_t begin = std::max(k, t.first), end = std::min({k + kOutputs, t.first + t.count, k_});
    if (begin >= end) return;
    const int64_t at = s * g_.out[1] * g_.out[2] * t.count + begin - t.first, plane = g_.out_plane();
    const float* from = planes + (begin - k) * plane;
    if (g_.dtype == DType::bf16)
      METVOX_ISA_CALL(rows_from_planes_bf16)
      (from, plane, g_.pitch(), g_.out[1], g_.out[2], end - begin, t.count, t.add,
       static_cast<uint16_t*>(t.y.data) + at);
    else
      METVOX_ISA_CALL(rows_from_planes_f32)
      (from, plane, g_.pitch(), g_.out[1], g_.out[2], end - begin, t.count, t.add, t.y.as<float>() + at);
  }

  Geometry g_;
  int64_t k_, pieces_;
  Piece piece_;
};

Geometry forward_geometry(const Conv3dProblem& p) {
  return {p.n, p.c, p.c2, p.in, p.kernel, p.pad, p.out(), p.dtype, p.dtype == DType::bf16};
}
Geometry backward_geometry(const Conv3dProblem& p) {
  Int3 pad;
  for (int a = 0; a < 3; ++a) pad[a] = p.kernel[a] - 1 - p.pad[a];
  return {p.n, p.k, 0, p.out(), p.kernel, pad, p.in, p.dtype, p.dtype == DType::bf16};
}

class Forward final : public Conv3dForward {
 public:
  explicit Forward(const Conv3dProblem& p) : p_(p), convolution_(forward_geometry(p), p.k) {}
  size_t packed_bytes() const override { return convolution_.packed_bytes(); }
  size_t scratch_bytes() const override { return convolution_.scratch_bytes(); }

  void pack(Stream&, View w, View b, void* packed) const override {
    p_.check_weights(w, b);
    const float* from = w.as<float>();
    const int64_t taps = volume(p_.kernel), channels = p_.c + p_.c2;
    convolution_.pack(
        packed, [&](int64_t k, int64_t c, int64_t t) { return from[(k * channels + c) * taps + t]; },
        [&](int64_t k) { return p_.bias ? b.as<float>()[k] : 0.0f; });
  }

  void run(Stream&, View x, View x2, const void* packed, View y, void* scratch) const override {
    p_.check_activations(x, x2, y);
    convolution_.run(x, x2, packed, {{y, 0, p_.k, false}}, scratch);
  }

 private:
  Conv3dProblem p_;
  Convolution convolution_;
};

class BackwardData final : public Conv3dBackwardData {
 public:
  explicit BackwardData(const Conv3dProblem& p) : p_(p), convolution_(backward_geometry(p), p.c + p.c2) {}
  size_t packed_bytes() const override { return convolution_.packed_bytes(); }
  size_t scratch_bytes() const override { return convolution_.scratch_bytes(); }
  bool accumulates() const override { return true; }

  void pack(Stream&, View w, void* packed) const override {
    p_.check_weights(w);
    const float* from = w.as<float>();
    const int64_t taps = volume(p_.kernel), channels = p_.c + p_.c2;
    convolution_.pack(
        packed, [&](int64_t c, int64_t k, int64_t t) { return from[(k * channels + c) * taps + taps - 1 - t]; },
        [](int64_t) { return 0.0f; });
  }

  void run(Stream&, View dy, const void* packed, View dx, Grad grad, View dx2, Grad grad2,
           void* scratch) const override {
    p_.check_activations(dx, dx2, dy);
    const int64_t count = grad == Grad::ignore ? 0 : p_.c, count2 = grad2 == Grad::ignore ? 0 : p_.c2;
    convolution_.run(dy, {}, packed,
                     {{dx, 0, count, grad == Grad::accumulate}, {dx2, p_.c, count2, grad2 == Grad::accumulate}},
                     scratch);
  }

 private:
  Conv3dProblem p_;
  Convolution convolution_;
};

// Each thread sums over its slices, lane by lane; the lanes and the threads are added at the end.
class BackwardWeights final : public Conv3dBackwardWeights {
 public:
  explicit BackwardWeights(const Conv3dProblem& p) : p_(p), g_(forward_geometry(p)), bias_gradient_(p.k) {
    g_.pairs = false;
    pieces_ = std::min<int64_t>(threads(), g_.slices());
    piece_ = piece_of(g_, static_cast<size_t>(blocks() * kOutputs * g_.out_plane() * g_.element()));
    sums_ = piece_.bytes;
    piece_.bytes += static_cast<size_t>(blocks() * block()) * sizeof(float);
  }
  size_t scratch_bytes() const override {
    return std::max(static_cast<size_t>(pieces_) * piece_.bytes, bias_gradient_.scratch_bytes());
  }

  void run(Stream&, View x, View x2, View dy, View dw, View db, Grad grad, void* scratch) const override {
    if (grad == Grad::ignore) return;
    p_.check_activations(x, x2, dy);
    p_.check_weights(dw, db);
    parallel_for(pieces_, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) sum_slices(x, x2, dy, i, at(scratch, i));
    });
    parallel_for(dw.size(), 1024, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) put(dw.as<float>()[i], total(i, scratch), grad);
    });
    if (p_.bias) bias_gradient_(dy, db, grad, scratch);
  }

 private:
  std::byte* at(void* scratch, int64_t piece) const {
    return static_cast<std::byte*>(scratch) + static_cast<size_t>(piece) * piece_.bytes;
  }
  int64_t blocks() const { return up(p_.k, kOutputs) / kOutputs; }
  int64_t block() const { return volume(p_.kernel) * g_.channels() * kOutputs * kSumLanes; }

  void sum_slices(const View& x, const View& x2, const View& dy, int64_t piece, std::byte* memory) const {
    Ring ring(g_, memory + piece_.ring);
    auto* sums = reinterpret_cast<float*>(memory + sums_);
    std::byte* planes = memory + piece_.slice;
    std::memset(sums, 0, static_cast<size_t>(blocks() * block()) * sizeof(float));
    std::memset(planes, 0, sums_ - piece_.slice);
    const int64_t plane = g_.out_plane(), voxels = g_.out[1] * g_.out[2];
    for (int64_t s = g_.slices() * piece / pieces_; s < g_.slices() * (piece + 1) / pieces_; ++s) {
      const PlaneSlice source = ring.slice(x, x2, s);
      METVOX_ISA_CALL(planes_from_rows)
      (static_cast<const std::byte*>(dy.data) + s * voxels * p_.k * g_.element(), g_.out[1], g_.out[2], p_.k, p_.k,
       g_.element(), planes, plane, g_.pitch());
      for (int64_t b = 0; b < blocks(); ++b) {
        const void* gradient = planes + b * kOutputs * plane * g_.element();
        if (g_.dtype == DType::bf16)
          METVOX_ISA_CALL(correlate_bf16)(source, static_cast<const uint16_t*>(gradient), plane, sums + b * block());
        else METVOX_ISA_CALL(correlate_f32)(source, static_cast<const float*>(gradient), plane, sums + b * block());
      }
    }
  }

  // Element i of dw (k, c, taps) over all threads and lanes.
  double total(int64_t i, void* scratch) const {
    const int64_t row = p_.kernel[2], rows = p_.kernel[1], taps = volume(p_.kernel);
    const int64_t t = i % taps, c = i / taps % g_.channels(), k = i / (taps * g_.channels());
    const int64_t line = (t / (rows * row) * g_.channels() + c) * rows + t / row % rows;
    const int64_t lanes = k / kOutputs * block() + ((line * kOutputs + k % kOutputs) * row + t % row) * kSumLanes;
    double sum = 0;
    for (int64_t p = 0; p < pieces_; ++p)
      for (int l = 0; l < kSumLanes; ++l)
        sum += static_cast<double>((reinterpret_cast<float*>(at(scratch, p) + sums_) + lanes)[l]);
    return sum;
  }

  Conv3dProblem p_;
  Geometry g_;
  metvox::cpu::BiasGradient bias_gradient_;
  int64_t pieces_;
  Piece piece_;
  size_t sums_;
};

std::optional<std::string> declines(const Conv3dProblem& p) {
  p.validate();
  if (p.dtype != DType::f32 && p.dtype != DType::bf16)
    return sentence("loops for f32 and bf16, not for ", name_of(p.dtype));
  if (p.dtype == DType::bf16 && !has_bf16_instructions())
    return "this CPU has no bf16 instructions (avx512_bf16 or AMX)";
  for (int a = 0; a < 3; ++a) {
    if (p.stride[a] != 1) return "for stride 1 only";
    if (p.kernel[a] != 1 && p.kernel[a] != 3) return "for kernels of 1 and 3 only";
    if (p.pad[a] >= p.kernel[a]) return "for paddings below the kernel only";
  }
  return std::nullopt;
}
// oneDNN puts channels into vectors: 8 are half a vector, 16 one vector, too few sums at a time to hide the latency of
// adding. Measured on Zen 5, up to 16 these loops are 2 to 20 % faster, but for weight gradients in f32, which want 8.
std::string_view left_if(bool slower_here, const Conv3dProblem& p) {
  return slower_here || volume(p.kernel) == 1 ? "onednn" : "";
}
std::string_view forward_yields(const Conv3dProblem& p) { return left_if(p.k > 2 * kOutputs, p); }
std::string_view backward_data_yields(const Conv3dProblem& p) { return left_if(std::max(p.c, p.c2) > 2 * kOutputs, p); }
std::string_view backward_weights_yields(const Conv3dProblem& p) {
  return left_if(p.k > (p.dtype == DType::bf16 ? 2 : 1) * kOutputs, p);
}

template <class Interface, class Kernel>
Engine<Conv3dProblem, Interface> engine(std::string_view (*yields)(const Conv3dProblem&)) {
  return {"native", Device::Kind::cpu, declines,
          [](const Conv3dProblem& p) -> std::unique_ptr<Interface> { return std::make_unique<Kernel>(p); }, yields};
}

}  // namespace

Engine<Conv3dProblem, Conv3dForward> conv3d_forward() { return engine<Conv3dForward, Forward>(forward_yields); }
Engine<Conv3dProblem, Conv3dBackwardData> conv3d_backward_data() {
  return engine<Conv3dBackwardData, BackwardData>(backward_data_yields);
}
Engine<Conv3dProblem, Conv3dBackwardWeights> conv3d_backward_weights() {
  return engine<Conv3dBackwardWeights, BackwardWeights>(backward_weights_yields);
}

}  // namespace metvox::native
