// SPDX-License-Identifier: Apache-2.0
// The matrix product over pixels on tensor cores (f16 from sm_75, bf16 and tf32 from sm_80) or, in f32, on FMA units. F
// is the format of the factors (product.h), T = Stored<F> what lies in memory.
//
// Tile: 16, 32, 64 or 128 channels of dy (by how many there are) x 128 columns (tap, channel) of the gathered source;
//   4 warps side by side of 16..64 x 32, or 2 x 4 of 64 x 32 (64 sums a thread). dy is read once per 128 columns.
// Step: 32 pixels (16 of floats), kStages steps under way, 9 to 16 KiB each. Both operands lie pixel by pixel as in
// memory,
//   pieces of 16 bytes swizzled (implicit_gemm.h); ldmatrix.trans turns 16-bit numbers, so nothing is transposed by
//   hand; floats for tf32 are loaded one by one.
// A thread's pieces all belong to one (tap, channel): its source is a pointer plus the pixel's voxel. Where pixels read
//   is worked out once a block, each thread for one pixel of the next 4 to 16 steps, and kept in shared memory.
// The pixels are split over blocks so that the grid fills the device; every block writes f32 sums to scratch, and a
//   second kernel adds them in order and turns (m, tap, c) into (m, c, tap). Repeatable, no atomics.
// Tested on the host executor and assembled without spills for sm_80 and sm_90; not yet run on hardware.
#include "kernels/cuda/pixel_gemm.h"

#include <algorithm>

namespace metvox::METVOX_KERNEL_NS {
namespace {

constexpr int kTileN = 128;

template <class T, int kTileM>
struct TileShape {
  static constexpr int kThreads = kTileM == 128 ? 256 : 128, kStages = kTileM == 128 ? 3 : 4;
  static constexpr int kPixels = sizeof(T) == 4 ? 16 : 32;
  static constexpr int kPiecesM = kTileM / kVector<T>, kPiecesN = kTileN / kVector<T>;
  static constexpr int kBytesM = kPixels * kPiecesM * 16, kStageBytes = kBytesM + kPixels * kPiecesN * 16;
  static constexpr int kBatch = kThreads / kPixels;  // steps whose pixels are looked up at once
  static constexpr int kSharedBytes = kStages * kStageBytes + 2 * kThreads * static_cast<int>(sizeof(Reads));
};

template <class T>
struct Args {
  Channels<T> from;
  const T* dy;
  int m;
  bool whole_dy;  // pieces of dy
  int tiles_n, padded_m, padded_columns, splits, steps;
  float* sums;  // [split][padded m][padded column]
  Taps taps;
};

// The block's sums, in the registers of its threads.
template <class F, int kTileM>
struct Product {
  using S = TileShape<Stored<F>, kTileM>;
  static constexpr bool kTf32 = std::is_same_v<F, Tf32>;
  static constexpr int kWarpM = kTileM < 64 ? kTileM : 64, kM = kWarpM / 16;
  float sum[kM][4][4] = {};
  int row, column, lane;

  METVOX_DEVICE explicit Product(int thread)
      : row(thread / 128 * kWarpM), column(thread / 32 % 4 * 32), lane(thread % 32) {}

  METVOX_DEVICE void add(const char* dy, const char* x) {
#pragma unroll
    for (int k = 0; k < S::kPixels; k += kDepth<F>) {
      uint32_t fa[kM][4];
#pragma unroll
      for (int i = 0; i < kM; ++i) get_dy(fa[i], dy, k, row + i * 16);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        uint32_t fb[4];
        get_x(fb, x, k, column + j * 16);
#pragma unroll
        for (int i = 0; i < kM; ++i) {
          multiply<F>(sum[i][2 * j], fa[i], {fb[0], fb[1]});
          multiply<F>(sum[i][2 * j + 1], fa[i], {fb[2], fb[3]});
        }
      }
    }
  }

  METVOX_DEVICE void put(float* to, int pitch) const {
#pragma unroll
    for (int i = 0; i < kM; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          *reinterpret_cast<float2*>(to + static_cast<int64_t>(row + i * 16 + half * 8 + lane / 4) * pitch + column +
                                     j * 8 + lane % 4 * 2) = make_float2(sum[i][j][2 * half], sum[i][j][2 * half + 1]);
  }

 private:
  // The fragments of channels [m, m + 16) of dy, and of two products' columns [n, n + 16) of x, at kDepth pixels from
  // k. The order of pixels within a product is free. A lane of tf32 takes pixels 2 t and 2 t + 1 where others take t
  // and t + 4: so a warp's numbers lie in different banks, but for dy where it has 16 channels (two to a bank).
  METVOX_DEVICE void get_dy(uint32_t (&fragment)[4], const char* dy, int k, int m) const {
    if constexpr (kTf32) {
#pragma unroll
      for (int q = 0; q < 4; ++q)
        fragment[q] = number<S::kPiecesM>(dy, k + lane % 4 * 2 + q / 2, m + lane / 4 + q % 2 * 8);
    } else {
      ldmatrix_x4_trans(fragment, dy + swizzled<S::kPiecesM>(k + lane / 16 * 8 + lane % 8, m / 8 + lane / 8 % 2));
    }
  }
  METVOX_DEVICE void get_x(uint32_t (&fragment)[4], const char* x, int k, int n) const {
    if constexpr (kTf32) {
#pragma unroll
      for (int q = 0; q < 4; ++q)
        fragment[q] = number<S::kPiecesN>(x, k + lane % 4 * 2 + q % 2, n + lane / 4 + q / 2 * 8);
    } else {
      ldmatrix_x4_trans(fragment, x + swizzled<S::kPiecesN>(k + lane / 8 % 2 * 8 + lane % 8, n / 8 + lane / 16));
    }
  }
  template <int kPieces>
  METVOX_DEVICE static uint32_t number(const char* from, int pixel, int channel) {
    return to_tf32(*reinterpret_cast<const float*>(from + swizzled<kPieces>(pixel, channel / 4) + channel % 4 * 4));
  }
};

// Each thread: kM x kN pieces of four channels, apart by the number of threads, so that neighbours read neighbours.
template <int kTileM>
struct Product<float, kTileM> {
  using S = TileShape<float, kTileM>;
  static constexpr int kThreadsN = kTileM == 16 ? 32 : 16, kThreadsM = S::kThreads / kThreadsN;
  static constexpr int kM = S::kPiecesM / kThreadsM, kN = S::kPiecesN / kThreadsN;
  float sum[kM][4][kN][4] = {};
  int row, column;

  METVOX_DEVICE explicit Product(int thread) : row(thread / kThreadsN), column(thread % kThreadsN) {}

  METVOX_DEVICE void add(const char* dy, const char* x) {
#pragma unroll 2
    for (int p = 0; p < S::kPixels; ++p) {
      float a[kM][4], b[kN][4];
#pragma unroll
      for (int i = 0; i < kM; ++i) get(dy + swizzled<S::kPiecesM>(p, row + i * kThreadsM), a[i]);
#pragma unroll
      for (int j = 0; j < kN; ++j) get(x + swizzled<S::kPiecesN>(p, column + j * kThreadsN), b[j]);
#pragma unroll
      for (int i = 0; i < kM * 4; ++i)
#pragma unroll
        for (int j = 0; j < kN * 4; ++j)
          sum[i / 4][i % 4][j / 4][j % 4] =
              __fmaf_rn(a[i / 4][i % 4], b[j / 4][j % 4], sum[i / 4][i % 4][j / 4][j % 4]);
    }
  }

  METVOX_DEVICE void put(float* to, int pitch) const {
#pragma unroll
    for (int i = 0; i < kM * 4; ++i)
#pragma unroll
      for (int j = 0; j < kN; ++j) {
        const float(&v)[4] = sum[i / 4][i % 4][j];
        store16(to + static_cast<int64_t>((row + i / 4 * kThreadsM) * 4 + i % 4) * pitch + (column + j * kThreadsN) * 4,
                bits_as<uint4>(make_float4(v[0], v[1], v[2], v[3])));
      }
  }

 private:
  METVOX_DEVICE static void get(const char* from, float (&v)[4]) {
    const float4 q = bits_as<float4>(load16(from));
    v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
  }
};

// A piece of a pixel of dy.
template <class T, bool kAnyChannels>
METVOX_DEVICE void load_dy(void* to, const Args<T>& a, int pixel, int channel) {
  const T* from = a.dy + static_cast<int64_t>(pixel) * a.m + channel;
  if constexpr (kAnyChannels) {
    if (!a.whole_dy) {
      float v[kVector<T>];
#pragma unroll
      for (int i = 0; i < kVector<T>; ++i) v[i] = pixel < a.taps.rows && channel + i < a.m ? to_float(from[i]) : 0;
      Pack<T, kVector<T>> piece;
      piece.set(v);
      piece.store(static_cast<T*>(to));
      return;
    }
  }
  const bool ok = pixel < a.taps.rows && channel < a.m;
  cp_async16(to, ok ? from : a.dy, ok);
}

// Blocks an SM for which registers are kept. Numbers that are loaded one by one need more addresses.
template <class F, int kTileM>
constexpr int kBlocks = kTileM == 128                             ? 1
                        : kTileM == 64 && std::is_same_v<F, Tf32> ? 2
                                                                  : 3;

template <class F, int kTileM, bool kAnyChannels>
__global__ void __launch_bounds__(TileShape<Stored<F>, kTileM>::kThreads, kBlocks<F, kTileM>)
    pixel_gemm(const __grid_constant__ Args<Stored<F>> a) {
  using T = Stored<F>;
  using S = TileShape<T, kTileM>;
  METVOX_SHARED_DYN(char, shared);
  auto* const reads = reinterpret_cast<Reads*>(shared + S::kStages * S::kStageBytes);  // of two batches of steps
  const int t = static_cast<int>(threadIdx.x), tile = static_cast<int>(blockIdx.x);
  const int split = static_cast<int>(blockIdx.y), n0 = tile % a.tiles_n * kTileN, m0 = tile / a.tiles_n * kTileM;
  const int first = static_cast<int>(static_cast<int64_t>(a.steps) * split / a.splits);
  const int last = static_cast<int>(static_cast<int64_t>(a.steps) * (split + 1) / a.splits);

  const auto look_up = [&](int batch) {
    reads[batch % 2 * S::kThreads + t] = reads_of(a.taps, (first + batch * S::kBatch) * S::kPixels + t);
  };
  // A thread brings the same columns of kRows pixels, and some pieces of dy.
  constexpr int kRowsApart = S::kThreads / S::kPiecesN, kRows = S::kPixels / kRowsApart;
  const int row = t / S::kPiecesN, piece = t % S::kPiecesN;
  const Column column(n0 + piece * kVector<T>, a.from.total());
  const PieceSource<T> from(a.from, a.taps, column);

  const auto load = [&](int step) {
    if (step < last) {
      char* stage = shared + (step - first) % S::kStages * S::kStageBytes;
      const Reads* mine = reads + (step - first) % (2 * S::kBatch) * S::kPixels;
      for (int i = t; i < S::kPixels * S::kPiecesM; i += S::kThreads) {
        const int pixel = i / S::kPiecesM, p = i % S::kPiecesM;
        load_dy<T, kAnyChannels>(stage + swizzled<S::kPiecesM>(pixel, p), a, step * S::kPixels + pixel,
                                 m0 + p * kVector<T>);
      }
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const int pixel = row + i * kRowsApart;
        char* to = stage + S::kBytesM + swizzled<S::kPiecesN>(pixel, piece);
        if constexpr (kAnyChannels) {
          if (a.from.group != kVector<T>) {
            load_gathered(to, a.from, a.taps, column, mine[pixel]);
            continue;
          }
        }
        from.load(to, mine[pixel]);
      }
    }
    cp_async_commit();
  };

  Product<F, kTileM> product(t);
  static_assert(S::kStages <= S::kBatch);
  look_up(0);
  __syncthreads();
  for (int s = 0; s < S::kStages - 1; ++s) load(first + s);
  for (int step = first; step < last; ++step) {
    cp_async_wait<S::kStages - 2>();
    __syncthreads();
    load(step + S::kStages - 1);
    if (const int next = step - first + S::kStages; next % S::kBatch == 0) look_up(next / S::kBatch);
    const char* stage = shared + (step - first) % S::kStages * S::kStageBytes;
    product.add(stage, stage + S::kBytesM);
  }
  cp_async_wait<0>();
  product.put(a.sums + (static_cast<int64_t>(split) * a.padded_m + m0) * a.padded_columns + n0, a.padded_columns);
}

// Adds the splits in order. A thread for each element of dw.
__global__ void __launch_bounds__(256) add_splits(const float* sums, int splits, int m, int padded_m, int columns,
                                                  int padded_columns, int channels, float* dw, bool accumulate) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (i >= static_cast<int64_t>(m) * columns) return;
  const int row = static_cast<int>(i / columns), column = static_cast<int>(i % columns), taps = columns / channels;
  float sum = 0;
  for (int s = 0; s < splits; ++s) sum += sums[(static_cast<int64_t>(s) * padded_m + row) * padded_columns + column];
  float& to = dw[static_cast<int64_t>(row) * columns + column % channels * taps + column / channels];
  to = accumulate ? to + sum : sum;
}

// ---- sums of channels ----

// Block (x, y): channels [256 y, 256 y + 256) of one chunk of the rows; a thread keeps one channel of every so many
// rows.
template <class T>
__global__ void __launch_bounds__(256) sum_chunks(const T* x, int64_t rows, int channels, float* sums) {
  METVOX_SHARED(float, partial, [256]);
  const int t = static_cast<int>(threadIdx.x), first = static_cast<int>(blockIdx.y) * 256;
  const int here = channels - first < 256 ? channels - first : 256, apart = 256 / here;
  const int64_t begin = rows * blockIdx.x / gridDim.x, end = rows * (blockIdx.x + 1) / gridDim.x;
  float sum = 0;
  if (t < apart * here)
    for (int64_t row = begin + t / here; row < end; row += apart) sum += to_float(x[row * channels + first + t % here]);
  partial[t] = sum;
  __syncthreads();
  if (t >= here) return;
  for (int i = 1; i < apart; ++i) sum += partial[i * here + t];
  sums[blockIdx.x * channels + first + t] = sum;
}

__global__ void __launch_bounds__(256)
    add_chunks(const float* sums, int chunks, int channels, float* to, bool accumulate) {
  const int c = static_cast<int>(blockIdx.x * 256 + threadIdx.x);
  if (c >= channels) return;
  float sum = 0;
  for (int i = 0; i < chunks; ++i) sum += sums[i * channels + c];
  to[c] = accumulate ? to[c] + sum : sum;
}

// ---- the host's side ----

template <class F>
void dispatch_tile(int tile_m, F&& f) {
  switch (tile_m) {
    case 16: return f.template operator()<16>();
    case 32: return f.template operator()<32>();
    case 64: return f.template operator()<64>();
    default: return f.template operator()<128>();
  }
}

}  // namespace

PixelGemm::PixelGemm(const PixelProblem& p) : p_(p) {
  const int64_t rest = p.m % 128;  // in a last tile of 128
  tile_m_ = p.m <= 16 ? 16 : p.m <= 32 ? 32 : p.m <= 64 || (rest > 0 && rest <= 64) ? 64 : 128;
  tiles_m_ = divided_up(p.m, tile_m_);
  tiles_n_ = divided_up(p.taps.count * (p.c[0] + p.c[1]), kTileN);
  const int64_t steps = divided_up(p.taps.rows, p.dtype == DType::f32 ? 16 : 32);
  splits_ = std::clamp<int64_t>(kFullGrid / (tiles_m_ * tiles_n_), 1, std::max<int64_t>(1, steps / 8));
}

size_t PixelGemm::scratch_bytes() const {
  return static_cast<size_t>(splits_ * tiles_m_ * tile_m_ * tiles_n_ * kTileN) * sizeof(float);
}

void PixelGemm::run(Stream& stream, const void* x, const void* x2, const void* dy, float* dw, Grad grad,
                    void* scratch) const {
  const int channels = static_cast<int>(p_.c[0] + p_.c[1]), columns = channels * p_.taps.count;
  const int padded_m = static_cast<int>(tiles_m_ * tile_m_), padded_columns = static_cast<int>(tiles_n_ * kTileN);
  dispatch_format(p_.dtype, p_.tf32, [&]<class F>() {
    using T = Stored<F>;
    Args<T> a{};
    a.from = {{static_cast<const T*>(x), static_cast<const T*>(x2)},
              {static_cast<int>(p_.c[0]), static_cast<int>(p_.c[1])},
              group_of(p_.dtype, p_.c[0], p_.c[1])};
    a.dy = static_cast<const T*>(dy), a.m = static_cast<int>(p_.m), a.whole_dy = p_.m % kVector<T> == 0;
    a.tiles_n = static_cast<int>(tiles_n_), a.padded_m = padded_m;
    a.padded_columns = padded_columns;
    a.splits = static_cast<int>(splits_), a.sums = static_cast<float*>(scratch), a.taps = p_.taps;
    dispatch_tile(tile_m_, [&]<int kTileM>() {
      using S = TileShape<T, kTileM>;
      a.steps = static_cast<int>(divided_up(p_.taps.rows, S::kPixels));
      const bool whole = a.whole_dy && a.from.group == kVector<T>;
      launch(whole ? pixel_gemm<F, kTileM, false> : pixel_gemm<F, kTileM, true>,
             dim3(static_cast<unsigned>(tiles_m_ * tiles_n_), static_cast<unsigned>(splits_)), dim3(S::kThreads),
             S::kSharedBytes, stream, a);
    });
  });
  launch(add_splits, grid_of(p_.m * columns), dim3(256), 0, stream, static_cast<const float*>(scratch), splits_, p_.m,
         padded_m, columns, padded_columns, channels, dw, grad == Grad::accumulate);
}

ChannelSums::ChannelSums(DType dtype, int64_t rows, int64_t channels)
    : dtype_(dtype), rows_(rows), channels_(channels), chunks_(std::clamp<int64_t>(rows / 256, 1, kFullGrid)) {}

size_t ChannelSums::scratch_bytes() const { return static_cast<size_t>(chunks_ * channels_) * sizeof(float); }

void ChannelSums::run(Stream& stream, const void* x, float* sums, Grad grad, void* scratch) const {
  auto* chunks = static_cast<float*>(scratch);
  const dim3 grid(static_cast<unsigned>(chunks_), static_cast<unsigned>(divided_up(channels_, 256)));
  dispatch_type(dtype_, [&]<class T>() {
    launch(sum_chunks<T>, grid, dim3(256), 0, stream, static_cast<const T*>(x), rows_, channels_, chunks);
  });
  launch(add_chunks, grid_of(channels_), dim3(256), 0, stream, chunks, chunks_, channels_, sums,
         grad == Grad::accumulate);
}

}  // namespace metvox::METVOX_KERNEL_NS
