// SPDX-License-Identifier: Apache-2.0
// Tiles of image planes in shared memory, for Hopper's 3x3x3 convolutions: 16 x 16 voxels, with or without a halo, in
// groups of 8 channels without swizzle, [C / 8][h][w][8]. Any 8 voxels of a row are a core matrix of wgmma, 128 bytes
// without bank conflicts wherever they begin: the shifts of a convolution's taps cost nothing.
#pragma once
#include <algorithm>

#include "kernels/cuda/hopper.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace metvox::METVOX_KERNEL_NS {

constexpr int kTile = 16, kHalo = kTile + 2;
constexpr int kTileRowBytes = kTile * 16, kHaloRowBytes = kHalo * 16;  // of 8 channels
constexpr int kTileBytes = kTile * kTileRowBytes, kHaloBytes = kHalo * kHaloRowBytes;

// ---- the host's side ----

// Boxes of `side` x `side` voxels x `channels` of a plane of (n, c, extent), 16-bit numbers. Coordinates: 0, w, h,
// group of 8 channels, n D + d; zeros outside of w and h.
inline TensorMap plane_map(View v, int side, int channels) {
  const auto n = static_cast<uint64_t>(v.shape[0]), c = static_cast<uint64_t>(v.shape[1]),
             d = static_cast<uint64_t>(v.shape[2]), h = static_cast<uint64_t>(v.shape[3]),
             w = static_cast<uint64_t>(v.shape[4]);
  const uint64_t extent[5] = {8, w, h, c / 8, n * d}, strides[5] = {0, c * 2, w * c * 2, 16, h * w * c * 2};
  const uint32_t box[5] = {8, static_cast<uint32_t>(side), static_cast<uint32_t>(side),
                           static_cast<uint32_t>(channels / 8), 1};
  TensorTile tile{};
  tile.dtype = v.dtype, tile.base = v.data, tile.rank = 5;
  std::copy_n(extent, 5, tile.extent), std::copy_n(strides, 5, tile.stride_bytes), std::copy_n(box, 5, tile.box);
  return make_tensor_map(tile);
}

template <class F>
void dispatch_half(DType t, F&& f) {
  if (t == DType::bf16) f.template operator()<bf16>();
  else f.template operator()<f16>();
}

// f.template operator()<a, b>() for a and b of 16 and 32.
template <class F>
void dispatch_16_32(int a, int b, F&& f) {
  if (a == 32 && b == 32) f.template operator()<32, 32>();
  else if (a == 32) f.template operator()<32, 16>();
  else if (b == 32) f.template operator()<16, 32>();
  else f.template operator()<16, 16>();
}

}  // namespace metvox::METVOX_KERNEL_NS
