// SPDX-License-Identifier: Apache-2.0
// How blocks share out a channels-last activation for sums by channel: a grid of (chunks of voxels, tiles of channels,
// samples); in a block, rows of voxels side by side, each thread with the same V channels all along.
#pragma once
#include <algorithm>

#include "kernels/cuda/vector.h"
#include "tensor/shape.h"

namespace metvox::METVOX_KERNEL_NS {

constexpr int kTileThreads = 256;      // at most
constexpr int kTileRowBytes = 128;     // of one voxel that a block reads at most: the line of a cache
constexpr int kMostTileChannels = 64;  // in that
constexpr int kMaxChunks = 1024;       // of a sample
constexpr int kVoxelsPerThread = 8;    // where a sample has so many

struct Tiling {
  int64_t voxels = 1;
  int samples = 1, c = 1;  // samples, channels
  int columns = 1;         // accesses (of V channels) in a block's row
  int rows = 1, chunk = 1, chunks = 1, tiles = 1;

  Tiling(int64_t n, int64_t channels, int64_t voxels_, int vector, size_t element_bytes)
      : voxels(voxels_), samples(static_cast<int>(n)), c(static_cast<int>(channels)) {
    const int accesses = c / vector, most = kTileRowBytes / vector / static_cast<int>(element_bytes);
    tiles = (accesses + most - 1) / most;
    columns = (accesses + tiles - 1) / tiles;
    rows = static_cast<int>(std::min<int64_t>(voxels, kTileThreads / columns));
    chunk = static_cast<int>(std::max<int64_t>(rows * kVoxelsPerThread, (voxels + kMaxChunks - 1) / kMaxChunks));
    chunks = static_cast<int>((voxels + chunk - 1) / chunk);
  }
  dim3 grid() const {
    return {static_cast<unsigned>(chunks), static_cast<unsigned>(tiles), static_cast<unsigned>(samples)};
  }
  dim3 block() const { return static_cast<unsigned>(rows * columns); }
};

// What a thread works on: V channels of voxels first + row, first + row + rows, ... below last.
template <int V>
struct Place {
  int sample, chunk, tile_channel, row, column, channel;
  int64_t first, last;
  bool active;  // its channels exist

  METVOX_DEVICE explicit Place(const Tiling& t, bool backwards = false) {
    sample = static_cast<int>(backwards ? gridDim.z - 1 - blockIdx.z : blockIdx.z);
    chunk = static_cast<int>(backwards ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
    tile_channel = static_cast<int>(blockIdx.y) * t.columns * V;
    row = static_cast<int>(threadIdx.x) / t.columns;
    column = static_cast<int>(threadIdx.x) % t.columns;
    channel = tile_channel + column * V;
    active = channel < t.c;
    first = static_cast<int64_t>(chunk) * t.chunk;
    last = min(first + t.chunk, t.voxels);
  }
  METVOX_DEVICE int64_t offset(const Tiling& t, int64_t voxel) const {
    return (sample * t.voxels + voxel) * t.c + channel;
  }
  // Of this thread's channel k, in an array (samples, C, chunks).
  METVOX_DEVICE int64_t partial(const Tiling& t, int k) const {
    return (static_cast<int64_t>(sample) * t.c + channel + k) * t.chunks + chunk;
  }
};

// f(accesses, offset of the first element, distance to the next access) for the thread's voxels, B at a time, then one
// by one; the number of accesses is a std::integral_constant, so that all loads of a batch are under way at once.
template <int B, int V, class F>
METVOX_DEVICE void each_batch(const Tiling& t, const Place<V>& at, F f) {
  const int64_t step = static_cast<int64_t>(t.rows) * t.c;
  int64_t voxel = at.first + at.row, offset = at.offset(t, voxel);
  for (; voxel + (B - 1) * t.rows < at.last; voxel += B * t.rows, offset += B * step)
    f(std::integral_constant<int, B>{}, offset, step);
  for (; voxel < at.last; voxel += t.rows, offset += step) f(std::integral_constant<int, 1>{}, offset, step);
}

// f(k, channel, n C + channel) for the channels of the block's tile, k from its first, one a thread; then all meet.
template <int V, class F>
METVOX_DEVICE void each_tile_channel(const Tiling& t, const Place<V>& at, F f) {
  for (int k = static_cast<int>(threadIdx.x); k < t.columns * V; k += static_cast<int>(blockDim.x)) {
    const int channel = at.tile_channel + k;
    if (channel < t.c) f(k, channel, static_cast<int64_t>(at.sample) * t.c + channel);
  }
  __syncthreads();
}

// Gathers what `rows` rows of threads have in row 0, in a fixed order: again and again the upper half gives, and the
// lower takes from the row so many further on.
template <class Give, class Take>
METVOX_DEVICE void fold(int row, int rows, Give give, Take take) {
  while (rows > 1) {
    const int half = (rows + 1) / 2;
    if (row >= half && row < rows) give();
    __syncthreads();
    if (row + half < rows) take(half);
    rows = half;
  }
}

}  // namespace metvox::METVOX_KERNEL_NS
