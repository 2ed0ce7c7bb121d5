// SPDX-License-Identifier: Apache-2.0
// The weights of a gathered product as its tiles lie in shared memory, zero where a step or a tile is not full.
#include <algorithm>

#include "kernels/cuda/gather_gemm.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

template <class T>
struct PackArgs {
  const float* w;
  T* packed;
  int columns, block_columns, channels, taps, steps, block_n;
  bool tf32;
  int64_t pieces;
  int64_t w_column, w_channel, w_block;
  int8_t tap_of[kMaxTaps];
};

// A thread for each piece, in the order of memory: [tile of columns][step][column][swizzled piece].
template <class T>
__global__ void __launch_bounds__(256) pack_weights(const __grid_constant__ PackArgs<T> a) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (i >= a.pieces) return;
  const int slot = static_cast<int>(i % (a.block_n * kPieces));
  const int64_t stage = i / (a.block_n * kPieces);
  const int row = slot / kPieces, piece = slot % kPieces ^ (row / 2 & 3);  // as swizzled<kPieces>
  const int n = static_cast<int>(stage / a.steps) * a.block_n + row;
  const int block = n / a.block_columns;
  const float* w = a.w + block * a.w_block + (n - block * a.block_columns) * a.w_column;
  Column at(static_cast<int>(stage % a.steps) * kStepK<T> + piece * kVector<T>, a.channels);
  float v[kVector<T>];
#pragma unroll
  for (int j = 0; j < kVector<T>; ++j) {
    v[j] = n < a.columns && at.tap < a.taps ? w[at.channel * a.w_channel + a.tap_of[at.tap]] : 0;
    if (a.tf32) v[j] = bits_as<float>(to_tf32(v[j]));
    at.advance(1, a.channels);
  }
  Pack<T, kVector<T>> pack;
  pack.set(v);
  pack.store(a.packed + i * kVector<T>);
}

// b, repeated for every block of columns, zero behind them.
__global__ void __launch_bounds__(256)
    pack_bias(const float* b, float* packed, int columns, int block_columns, int padded) {
  const int i = static_cast<int>(blockIdx.x) * 256 + static_cast<int>(threadIdx.x);
  if (i < padded) packed[i] = b && i < columns ? b[i % block_columns] : 0;
}

}  // namespace

void GatherGemm::pack(Stream& stream, const float* w, const float* b, void* packed) const {
  dispatch_type(p_.dtype, [&]<class T>() {
    T* to = static_cast<T*>(packed);
    for (size_t i = 0; i < p_.parts.size(); ++i) {
      PackArgs<T> a{};
      a.w = w, a.packed = to;
      a.columns = static_cast<int>(p_.columns), a.block_columns = static_cast<int>(p_.block_columns);
      a.channels = static_cast<int>(p_.c[0] + p_.c[1]), a.taps = p_.parts[i].taps.count;
      a.steps = static_cast<int>(steps_[i]), a.block_n = block_n_, a.tf32 = p_.tf32;
      a.pieces = steps_[i] * tiles_n_ * block_n_ * kPieces;
      a.w_column = p_.w_column, a.w_channel = p_.w_channel, a.w_block = p_.w_block;
      std::copy(std::begin(p_.parts[i].tap_of), std::end(p_.parts[i].tap_of), a.tap_of);
      if (a.pieces) launch(pack_weights<T>, grid_of(a.pieces), dim3(256), 0, stream, a);
      to += a.pieces * kVector<T>;
    }
  });
  const int64_t padded = tiles_n_ * block_n_;
  launch(pack_bias, grid_of(padded), dim3(256), 0, stream, b,
         reinterpret_cast<float*>(static_cast<char*>(packed) + weight_bytes()), p_.columns, p_.block_columns, padded);
}

}  // namespace metvox::METVOX_KERNEL_NS
