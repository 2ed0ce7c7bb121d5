// SPDX-License-Identifier: Apache-2.0
// The weights of a gathered product in the order of its tiles.
#include <algorithm>

#include "kernels/cuda/gather_gemm.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

template <class T>
struct PackArgs {
  const float* w;
  T* packed;
  int columns, block_columns, channels, taps, steps, block_n, row_pieces;
  bool tf32, swizzled;
  int64_t pieces;
  int64_t w_column, w_channel, w_block;
  int8_t tap_of[kMaxTaps];
};

// A thread for each piece of a part, in the order of memory.
template <class T>
__global__ void __launch_bounds__(256) pack_weights(const __grid_constant__ PackArgs<T> a) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (i >= a.pieces) return;
  const int slot = static_cast<int>(i % (a.block_n * a.row_pieces));
  const int64_t stage = i / (a.block_n * a.row_pieces);
  const int row = slot / a.row_pieces, piece = slot % a.row_pieces ^ (a.swizzled ? row / 2 & 3 : 0);
  const int n = static_cast<int>(stage / a.steps) * a.block_n + row;
  const int block = n / a.block_columns;
  const float* w = a.w + block * a.w_block + (n - block * a.block_columns) * a.w_column;
  Column at((static_cast<int>(stage % a.steps) * a.row_pieces + piece) * kVector<T>, a.channels);
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

void pack_gathered(Stream& stream, const GatherProblem& p, const GatherTiles& tiles, bool swizzled, const float* w,
                   const float* b, void* packed) {
  dispatch_type(p.dtype, [&]<class T>() {
    T* to = static_cast<T*>(packed);
    for (size_t i = 0; i < p.parts.size(); ++i) {
      PackArgs<T> a{};
      a.w = w, a.packed = to;
      a.columns = static_cast<int>(p.columns), a.block_columns = static_cast<int>(p.block_columns);
      a.channels = static_cast<int>(p.c[0] + p.c[1]), a.taps = p.parts[i].taps.count;
      a.steps = static_cast<int>(tiles.steps[i]), a.block_n = tiles.block_n, a.row_pieces = tiles.row_bytes / 16;
      a.tf32 = p.tf32, a.swizzled = swizzled;
      a.pieces = tiles.steps[i] * tiles.padded_columns() * a.row_pieces;
      a.w_column = p.w_column, a.w_channel = p.w_channel, a.w_block = p.w_block;
      std::copy(std::begin(p.parts[i].tap_of), std::end(p.parts[i].tap_of), a.tap_of);
      if (a.pieces) launch(pack_weights<T>, grid_of(a.pieces), dim3(256), 0, stream, a);
      to += a.pieces * kVector<T>;
    }
  });
  const int64_t padded = tiles.padded_columns();
  launch(pack_bias, grid_of(padded), dim3(256), 0, stream, b, const_cast<float*>(tiles.bias_in(packed)), p.columns,
         p.block_columns, padded);
}

}  // namespace metvox::METVOX_KERNEL_NS
