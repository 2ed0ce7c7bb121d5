// SPDX-License-Identifier: Apache-2.0
// What the convolutions' matrix products share: which source voxel a row of the matrix reads through which tap, how 16
// bytes of a channels-last image come into shared memory, and the swizzle under which they lie there. No im2col matrix
// is ever written: row = voxel, column = (tap, channel), channel fastest, read where it lies, zero outside the image.
#pragma once
#include "kernels/cuda/product.h"
#include "tensor/shape.h"

namespace metvox::METVOX_KERNEL_NS {

constexpr int kMaxTaps = 32, kMaxExtent = 8;

// Division of numbers below 2^31 by one known on the host, in three instructions.
struct Divisor {
  unsigned magic = 1, shift = 0;
  Divisor() = default;
  explicit Divisor(unsigned d) {
    while (d > 1u << shift) ++shift;
    magic = static_cast<unsigned>(((uint64_t{1} << 32) * ((uint64_t{1} << shift) - d)) / d + 1);
  }
  METVOX_DEVICE int operator()(int n) const {
    const auto u = static_cast<unsigned>(n);
    return static_cast<int>((__umulhi(u, magic) + u) >> shift);
  }
};

// The rows are the voxels (n, d, h, w) of a box; row o reads source voxel o * step + origin + sign * (index of the tap)
// along each axis.
struct Taps {
  int rows = 0;  // n * volume(box)
  int box[3], origin[3], step[3], source[3];
  Divisor by_box[3];
  int sign = 1, count = 0;
  int extent[3];
  unsigned along[3][kMaxExtent];  // bit t: tap t has that index along the axis
  int offset[kMaxTaps];           // from the voxel of tap 0 to that of tap t
};

// Where a row reads.
struct Reads {
  int voxel;       // of tap 0; may lie outside of the image
  unsigned valid;  // bit t: tap t is inside
};

struct RowPosition {
  int n, at[3];
  METVOX_DEVICE RowPosition(const Taps& g, int row) : n(row) {
#pragma unroll
    for (int a = 2; a >= 0; --a) {
      const int rest = g.by_box[a](n);
      at[a] = n - rest * g.box[a];
      n = rest;
    }
  }
};

METVOX_DEVICE Reads reads_of(const Taps& g, int row) {
  if (row >= g.rows) return {0, 0};
  const RowPosition o(g, row);
  Reads r{o.n, ~0u};
#pragma unroll
  for (int a = 0; a < 3; ++a) {
    const int first = o.at[a] * g.step[a] + g.origin[a];
    unsigned inside = 0;
    for (int e = 0; e < g.extent[a]; ++e) {
      const int i = first + g.sign * e;
      if (i >= 0 && i < g.source[a]) inside |= g.along[a][e];
    }
    r.valid &= inside;
    r.voxel = r.voxel * g.source[a] + first;
  }
  return r;
}

// One or two channels-last images as if concatenated.
template <class T>
struct Channels {
  const T* x[2];
  int c[2];
  int group;  // channels that lie together: kVector<T> where both counts are multiples of that, else 4 or 1
  METVOX_DEVICE int total() const { return c[0] + c[1]; }
};

// A column of the gathered matrix.
struct Column {
  int tap, channel;
  METVOX_DEVICE Column(int flat, int channels) : tap(flat / channels), channel(flat % channels) {}
  METVOX_DEVICE void advance(int columns, int channels) {
    for (channel += columns; channel >= channels; channel -= channels) ++tap;
  }
};

// The piece of kVector<T> columns from `at`, for rows of any voxel; only where from.group is kVector<T>.
template <class T>
struct PieceSource {
  const T* base;
  int channels;
  unsigned tap_bit;
  METVOX_DEVICE PieceSource(const Channels<T>& from, const Taps& taps, const Column& at) {
    const bool inside = at.tap < taps.count, second = at.channel >= from.c[0];
    channels = from.c[second];
    tap_bit = inside ? 1u << at.tap : 0;
    const int64_t offset = inside ? taps.offset[at.tap] : 0;
    base = from.x[second] + offset * channels + (second ? at.channel - from.c[0] : at.channel);
  }
  METVOX_DEVICE void load(void* to, const Reads& row) const {
    const bool ok = row.valid & tap_bit;
    cp_async16(to, ok ? base + static_cast<int64_t>(row.voxel) * channels : base, ok);
  }
};

template <class T, int kGroup>
METVOX_DEVICE uint4 gathered(const Channels<T>& from, const Taps& taps, Column at, const Reads& row) {
  static_assert(kGroup == 1 || kGroup * sizeof(T) == 8);
  uint32_t word[4] = {};
#pragma unroll
  for (int i = 0; i < kVector<T>; i += kGroup) {
    if (at.tap < taps.count && (row.valid >> at.tap & 1)) {
      const bool second = at.channel >= from.c[0];
      const int64_t voxel = row.voxel + taps.offset[at.tap];
      const T* p = from.x[second] + voxel * from.c[second] + (second ? at.channel - from.c[0] : at.channel);
      if constexpr (kGroup > 1) {
        const uint2 group = *reinterpret_cast<const uint2*>(p);
        word[i / 2] = group.x, word[i / 2 + 1] = group.y;
      } else if constexpr (sizeof(T) == 4) {
        word[i] = bits_as<uint32_t>(*p);
      } else {
        word[i / 2] |= static_cast<uint32_t>(p->bits) << i % 2 * 16;
      }
    }
    at.advance(kGroup, from.total());
  }
  return make_uint4(word[0], word[1], word[2], word[3]);
}

// A piece of any channel counts, through registers: slower.
template <class T>
METVOX_DEVICE void load_gathered(void* to, const Channels<T>& from, const Taps& taps, const Column& at,
                                 const Reads& row) {
  if constexpr (sizeof(T) == 2) {
    if (from.group == 4) return store16(to, gathered<T, 4>(from, taps, at, row));
  }
  store16(to, gathered<T, 1>(from, taps, at, row));
}

// Byte of piece `p` of row `row` in rows of kPieces pieces. Any 8 neighbouring rows, same piece, lie in different
// banks.
template <int kPieces>
METVOX_DEVICE int swizzled(int row, int p) {
  static_assert((kPieces & (kPieces - 1)) == 0);
  constexpr int kRowsABank = kPieces >= 8 ? 1 : 8 / kPieces, kMask = kPieces >= 8 ? 7 : kPieces - 1;
  return (row * kPieces + (p ^ (row / kRowsABank & kMask))) * 16;
}

// ---- the host's side ----

struct TapsSpec {
  int64_t n;
  Int3 box, origin, step;
  int sign;
  Int3 source, extent;
};
Taps make_taps(const TapsSpec& s);

// kVector<T> where the channel counts allow it, else 4 or 1.
inline int group_of(DType dtype, int64_t c, int64_t c2) {
  const int piece = static_cast<int>(16 / size_of(dtype));
  for (int group : {piece, 4})
    if (c % group == 0 && c2 % group == 0) return group;
  return 1;
}

// A grid that fills the largest devices twice; enough blocks, and a constant, so that sums are split alike everywhere.
constexpr int64_t kFullGrid = 264;

inline int64_t divided_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
// Blocks of 256 threads.
inline dim3 grid_of(int64_t threads) { return dim3(static_cast<unsigned>(divided_up(threads, 256))); }

}  // namespace metvox::METVOX_KERNEL_NS
