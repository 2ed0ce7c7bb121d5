// SPDX-License-Identifier: Apache-2.0
// A thread for each voxel: it reads its channels in pieces of 16 bytes (a warp's pieces cover whole lines between them)
// and keeps 4 or 8 sums. The weights lie in shared memory as f32, [channel][output], so that a warp reads them as one
// broadcast float4. At 32 channels this is 2 fused multiply-adds a byte: a sixth of what hides under the reads, so
// that tensor cores would gain nothing: f32 stays f32 where tf32 is allowed.
// Tested on the host executor; not yet run on hardware.
#include "kernels/cuda/conv3d_head.h"

#include "kernels/cuda/vector.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

constexpr int kThreads = 256, kMostChannels = 512;

// packed: [channel][kOut] weights, then [kOut] biases, zero behind the k-th.
template <class T, int kOut>
__global__ void __launch_bounds__(kThreads) head(const T* x, const float* packed, T* y, int64_t voxels, int c, int k) {
  METVOX_SHARED_DYN(float, weights);
  const int t = static_cast<int>(threadIdx.x);
  for (int i = t; i < (c + 1) * kOut; i += kThreads) weights[i] = packed[i];
  __syncthreads();
  const int64_t voxel = static_cast<int64_t>(blockIdx.x) * kThreads + t;
  if (voxel >= voxels) return;
  const auto row = [&](int i, int q) { return bits_as<float4>(load16(weights + i * kOut + q * 4)); };
  float4 sum[kOut / 4];
#pragma unroll
  for (int q = 0; q < kOut / 4; ++q) sum[q] = row(c, q);
  const T* from = x + voxel * c;
#pragma unroll 4
  for (int first = 0; first < c; first += kVector<T>) {
    Pack<T, kVector<T>> piece;
    float v[kVector<T>];
    piece.load(from + first);
    piece.get(v);
#pragma unroll
    for (int j = 0; j < kVector<T>; ++j)
#pragma unroll
      for (int q = 0; q < kOut / 4; ++q) {
        const float4 w = row(first + j, q);
        sum[q].x = __fmaf_rn(v[j], w.x, sum[q].x), sum[q].y = __fmaf_rn(v[j], w.y, sum[q].y);
        sum[q].z = __fmaf_rn(v[j], w.z, sum[q].z), sum[q].w = __fmaf_rn(v[j], w.w, sum[q].w);
      }
  }
  T* to = y + voxel * k;
#pragma unroll
  for (int q = 0; q < kOut / 4; ++q) {
    const float v[4] = {sum[q].x, sum[q].y, sum[q].z, sum[q].w};
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (q * 4 + j < k) to[q * 4 + j] = from_float<T>(v[j]);
  }
}

__global__ void __launch_bounds__(kThreads)
    pack_head(const float* w, const float* b, float* packed, int c, int k, int padded_k) {
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= (c + 1) * padded_k) return;
  const int channel = i / padded_k, out = i % padded_k;
  if (out >= k) packed[i] = 0;
  else if (channel < c) packed[i] = w[out * c + channel];
  else packed[i] = b ? b[out] : 0;
}

class Head final : public Conv3dForward {
 public:
  explicit Head(const Conv3dProblem& p) : p_(p), padded_k_(p.k <= 4 ? 4 : 8) {}
  size_t packed_bytes() const override { return static_cast<size_t>((p_.c + 1) * padded_k_) * sizeof(float); }

  void pack(Stream& stream, View w, View b, void* packed) const override {
    p_.check_weights(w, b);
    const auto blocks = static_cast<unsigned>(((p_.c + 1) * padded_k_ + kThreads - 1) / kThreads);
    launch(pack_head, dim3(blocks), dim3(kThreads), 0, stream, w.as<float>(), p_.bias ? b.as<float>() : nullptr,
           static_cast<float*>(packed), p_.c, p_.k, padded_k_);
  }

  void run(Stream& stream, View x, View x2, const void* packed, View y, void*) const override {
    p_.check_activations(x, x2, y);
    const int64_t voxels = p_.n * volume(p_.in);
    const dim3 grid(static_cast<unsigned>((voxels + kThreads - 1) / kThreads));
    dispatch_type(p_.dtype, [&]<class T>() {
      launch(padded_k_ == 4 ? head<T, 4> : head<T, 8>, grid, dim3(kThreads), packed_bytes(), stream, x.as<T>(),
             static_cast<const float*>(packed), y.as<T>(), voxels, p_.c, p_.k);
    });
  }

 private:
  Conv3dProblem p_;
  int64_t padded_k_;
};

}  // namespace

bool is_head(const Conv3dProblem& p) {
  const Int3 one{1, 1, 1};
  return p.kernel == one && p.stride == one && p.pad == Int3{} && p.k <= 8 && p.c2 == 0 && p.c <= kMostChannels &&
         p.c * static_cast<int64_t>(size_of(p.dtype)) % 16 == 0;
}

std::unique_ptr<Conv3dForward> conv3d_head(const Conv3dProblem& p) { return std::make_unique<Head>(p); }

}  // namespace metvox::METVOX_KERNEL_NS
