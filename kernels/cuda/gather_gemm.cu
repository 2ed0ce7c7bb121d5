// SPDX-License-Identifier: Apache-2.0
// The gathered matrix product on tensor cores (f16 from sm_75, bf16 and tf32 from sm_80) or, in f32, on FMA units. F is
// the format of the factors (product.h), T = Stored<F> what lies in memory.
//
// Tile: 128 rows x 16, 32, 64 or 128 columns, by the number of columns; 4 warps of 32 x 16, 32 x 32 or 64 x 32, or 8 of
//   64 x 32 (64 sums a thread). Wider tiles read x from L2 less often: each number of x serves as many multiply-adds as
//   the tile has columns.
// Step along K: rows of 64 bytes (32 numbers of 16 bits, 16 floats), four pieces of 16 bytes, kStages steps under way:
//   36 KiB (16 columns) to 64 KiB (128), two to four blocks an SM from sm_80, one on sm_75. A step may span taps (16
//   channels: two taps a step), so that narrow layers waste nothing.
// Shared memory: a stage is 128 rows of x, then a row of w for each column, K-contiguous, pieces swizzled
//   (implicit_gemm.h): neither cp.async's stores nor ldmatrix's loads conflict; f32 reads float4 from the same places.
//   To ldmatrix a float is two numbers of 16 bits, so its fragments are those of tf32 as well; w is rounded as it is
//   packed, x in registers.
//   After the loop the same memory takes the tile in f32, swizzled by 8 columns, and whole 16-byte pieces leave for y.
//   Moments, where a norm wants them, are of these pieces: a thread's always lie in the same columns.
// w is packed (gather_pack.cu) as the tiles lie in shared memory, swizzle included: a stage's part is one straight
// copy. Deep stages have few rows and a long K: it is then split over blocks, each writes its sums to scratch, and a
// second
//   kernel adds them in order. Blocks that share rows of x are neighbours in the grid, so that x comes from L2.
// Tested on the host executor and assembled without spills for sm_80 and sm_90; not yet run on hardware.
#include "kernels/cuda/gather_gemm.h"

#include <algorithm>

#include "kernels/cuda/gather_store.h"
#include "kernels/cuda/moments.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

constexpr int kBlockM = 128, kStages = 4;

template <int kBlockN>
struct TileShape {
  static constexpr int kThreads = kBlockN == 128 ? 256 : 128;
  static constexpr int kWarpM = kBlockN >= 64 ? 64 : 32, kWarpN = kBlockN >= 32 ? 32 : 16;
  static constexpr int kStageBytes = (kBlockM + kBlockN) * kRowBytes, kTileBytes = kBlockM * kBlockN * 4;
  static constexpr int kSharedBytes = kStages * kStageBytes > kTileBytes ? kStages* kStageBytes : kTileBytes;
};

template <class T>
struct Args : Destination<T> {
  Channels<T> from;
  const T* weights;
  int tiles_n;
  float4* moments;  // [sample][column][tile of the sample], if wanted
  int voxels;       // of a sample's output
};

// Sum (row, column) of a tile in shared memory: pairs written by the lanes of a warp fall in different banks, and so do
// the pieces that are read of f32. A piece of a 16-bit type is two reads 32 bytes apart from the next lane's: two lanes
// share each bank.
template <int kBlockN>
METVOX_DEVICE int tile_index(int row, int column) {
  constexpr int kMask = kBlockN / 8 >= 4 ? 3 : kBlockN / 8 - 1;
  return row * kBlockN + (column ^ ((kBlockN == 16 ? row >> 1 : row) & kMask) * 8);
}

// The block's sums, in the registers of its threads.
template <class F, int kBlockN>
struct Product {
  using S = TileShape<kBlockN>;
  static constexpr int kWarpsN = kBlockN / S::kWarpN, kM = S::kWarpM / 16, kN = S::kWarpN / 16;
  float sum[kM][2 * kN][4] = {};
  int row, column, lane;

  METVOX_DEVICE explicit Product(int thread)
      : row(thread / 32 / kWarpsN * S::kWarpM), column(thread / 32 % kWarpsN * S::kWarpN), lane(thread % 32) {}

  METVOX_DEVICE void add(const char* a, const char* b) {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      uint32_t fa[kM][4];
#pragma unroll
      for (int i = 0; i < kM; ++i) {
        ldmatrix_x4(fa[i], a + swizzled<kPieces>(row + i * 16 + lane % 16, k * 2 + lane / 16));
        round_factors<F>(fa[i]);
      }
#pragma unroll
      for (int j = 0; j < kN; ++j) {
        uint32_t fb[4];
        ldmatrix_x4(fb, b + swizzled<kPieces>(column + j * 16 + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
#pragma unroll
        for (int i = 0; i < kM; ++i) {
          multiply<F>(sum[i][2 * j], fa[i], {fb[0], fb[1]});
          multiply<F>(sum[i][2 * j + 1], fa[i], {fb[2], fb[3]});
        }
      }
    }
  }

  METVOX_DEVICE void put(float* tile) const {
#pragma unroll
    for (int i = 0; i < kM; ++i)
#pragma unroll
      for (int j = 0; j < 2 * kN; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          *reinterpret_cast<float2*>(
              tile + tile_index<kBlockN>(row + i * 16 + half * 8 + lane / 4, column + j * 8 + lane % 4 * 2)) =
              make_float2(sum[i][j][2 * half], sum[i][j][2 * half + 1]);
  }
};

// Each thread: 8 rows, 16 apart, of kN neighbouring columns. Eight lanes read the same piece of eight neighbouring rows
// of x (different banks), and one piece of w.
template <int kBlockN>
struct Product<float, kBlockN> {
  static constexpr int kThreads = TileShape<kBlockN>::kThreads, kM = 8, kN = kBlockM * kBlockN / kThreads / kM;
  float sum[kM][kN] = {};
  int row, column;

  METVOX_DEVICE explicit Product(int thread)
      : row(thread % 8 + thread / (kThreads / 2) * 8), column(thread / 8 % (kThreads / 16) * kN) {}

  METVOX_DEVICE void add(const char* a, const char* b) {
#pragma unroll 1
    for (int p = 0; p < kPieces; ++p) {
      float4 x[kM];
#pragma unroll
      for (int i = 0; i < kM; ++i) x[i] = bits_as<float4>(load16(a + swizzled<kPieces>(row + i * 16, p)));
#pragma unroll
      for (int j = 0; j < kN; ++j) {
        const float4 w = bits_as<float4>(load16(b + swizzled<kPieces>(column + j, p)));
#pragma unroll
        for (int i = 0; i < kM; ++i)
          sum[i][j] =
              __fmaf_rn(x[i].w, w.w, __fmaf_rn(x[i].z, w.z, __fmaf_rn(x[i].y, w.y, __fmaf_rn(x[i].x, w.x, sum[i][j]))));
      }
    }
  }

  METVOX_DEVICE void put(float* tile) const {
#pragma unroll
    for (int i = 0; i < kM; ++i)
#pragma unroll
      for (int j = 0; j < kN; ++j) tile[tile_index<kBlockN>(row + i * 16, column + j)] = sum[i][j];
  }
};

// What every thread knows of its columns, merged and written: first over the lanes with the same piece, then over the
// warps. of_warps: [warp][column], the tile's memory, which all have left.
template <class T, int kBlockN>
METVOX_DEVICE void store_moments(const Args<T>& a, const Distances (&mine)[kVector<T>],
                                 const float (&origin)[kVector<T>], int count, float4* of_warps, int m0, int n0) {
  constexpr int kV = kVector<T>, kPiecesOfRow = kBlockN / kV, kWarps = TileShape<kBlockN>::kThreads / 32;
  const int t = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int j = 0; j < kV; ++j) {
    const float4 all = merged_lanes(mine[j].moments(origin[j], count), kPiecesOfRow);
    if (t % 32 < kPiecesOfRow) store16(of_warps + t / 32 * kBlockN + t % kPiecesOfRow * kV + j, bits_as<uint4>(all));
  }
  __syncthreads();
  if (t >= kBlockN || n0 + t >= a.columns) return;
  float4 all = of_warps[t];
  for (int warp = 1; warp < kWarps; ++warp) all = merged(all, of_warps[warp * kBlockN + t]);
  const int sample = m0 / a.voxels, chunk = m0 % a.voxels / kBlockM, chunks = a.voxels / kBlockM;
  store16(a.moments + (static_cast<int64_t>(sample) * a.columns + n0 + t) * chunks + chunk, bits_as<uint4>(all));
}

// The tile from shared memory to the outputs or, where K is split, to scratch.
template <class T, int kBlockN>
METVOX_DEVICE void store_tile(const Args<T>& a, const Part& part, float* tile, int m0, int n0, int split) {
  constexpr int kV = kVector<T>, kPiecesOfRow = kBlockN / kV, kThreads = TileShape<kBlockN>::kThreads;
  static_assert(kThreads % kPiecesOfRow == 0 && kPiecesOfRow <= 32);  // a thread's pieces: the same columns
  const int rows = part.taps.rows - m0 < kBlockM ? part.taps.rows - m0 : kBlockM;
  Distances distances[kV];
  float origin[kV] = {};
  int count = 0;
  for (int i = static_cast<int>(threadIdx.x); i < rows * kPiecesOfRow; i += kThreads) {
    const int row = i / kPiecesOfRow, column = i % kPiecesOfRow * kV;
    float v[kV];
#pragma unroll
    for (int j = 0; j < kV; j += 4) {
      const float4 q = bits_as<float4>(load16(tile + tile_index<kBlockN>(row, column + j)));
      v[j] = q.x, v[j + 1] = q.y, v[j + 2] = q.z, v[j + 3] = q.w;
    }
    store_sums<T>(a, part, m0 + row, n0 + column, split, v);
    if (!a.moments) continue;
#pragma unroll
    for (int j = 0; j < kV; ++j) {
      if (count == 0) origin[j] = v[j];
      distances[j].add(v[j] - origin[j]);
    }
    ++count;
  }
  if (!a.moments) return;
  __syncthreads();
  store_moments<T, kBlockN>(a, distances, origin, count, reinterpret_cast<float4*>(tile), m0, n0);
}

// Blocks an SM for which registers are kept; sm_75 has room for fewer: 64 KiB of shared memory.
template <class F, int kBlockN>
constexpr int kBlocks = METVOX_ARCH&& METVOX_ARCH < 800 ? 65536 / TileShape<kBlockN>::kSharedBytes
                        : std::is_same_v<F, float>      ? 256 / TileShape<kBlockN>::kThreads
                        : kBlockN >= 64                 ? (kBlockN == 64 ? 3 : 2)
                                                        : 4;

template <class F, int kBlockN, bool kAnyChannels>
__global__ void __launch_bounds__(TileShape<kBlockN>::kThreads, kBlocks<F, kBlockN>)
    gather_gemm(const __grid_constant__ Args<Stored<F>> a) {
  using S = TileShape<kBlockN>;
  using T = Stored<F>;
  METVOX_SHARED_DYN(char, shared);
  const int t = static_cast<int>(threadIdx.x), tile = static_cast<int>(blockIdx.x);
  const int split = static_cast<int>(blockIdx.y), n0 = tile % a.tiles_n * kBlockN, m0 = tile / a.tiles_n * kBlockM;
  const Part& part = a.part[blockIdx.z];
  if (m0 >= part.taps.rows || ignored<Stored<F>>(a, n0, min(n0 + kBlockN, a.columns))) return;
  const int first = static_cast<int>(static_cast<int64_t>(part.steps) * split / a.splits);
  const int last = static_cast<int>(static_cast<int64_t>(part.steps) * (split + 1) / a.splits);

  // A thread brings the same piece of kRows rows, and some of w's pieces.
  constexpr int kRowsApart = S::kThreads / kPieces, kRows = kBlockM / kRowsApart;
  const int row = t / kPieces, piece = t % kPieces, channels = a.from.total();
  Reads reads[kRows];
#pragma unroll
  for (int i = 0; i < kRows; ++i) reads[i] = reads_of(part.taps, m0 + row + i * kRowsApart);
  Column column(first * kStepK<T> + piece * kVector<T>, channels);
  constexpr int kWeights = kBlockN * kStepK<T>;
  const T* w =
      a.weights + part.weight_row * kStepK<T> + (static_cast<int64_t>(n0 / kBlockN) * part.steps + first) * kWeights;

  const auto load = [&](int step) {
    if (step < last) {
      char* stage = shared + (step - first) % kStages * S::kStageBytes;
      if constexpr (kAnyChannels) {
#pragma unroll
        for (int i = 0; i < kRows; ++i)
          load_gathered(stage + swizzled<kPieces>(row + i * kRowsApart, piece), a.from, part.taps, column, reads[i]);
      } else {
        const PieceSource<T> from(a.from, part.taps, column);
#pragma unroll
        for (int i = 0; i < kRows; ++i) from.load(stage + swizzled<kPieces>(row + i * kRowsApart, piece), reads[i]);
      }
      for (int i = t; i < kBlockN * kPieces; i += S::kThreads)
        cp_async16(stage + kBlockM * kRowBytes + i * 16, w + i * kVector<T>, true);
      w += kWeights;
      column.advance(kStepK<T>, channels);
    }
    cp_async_commit();
  };

  Product<F, kBlockN> product(t);
  for (int s = 0; s < kStages - 1; ++s) load(first + s);
  for (int step = first; step < last; ++step) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    load(step + kStages - 1);
    const char* stage = shared + (step - first) % kStages * S::kStageBytes;
    product.add(stage, stage + kBlockM * kRowBytes);
  }
  cp_async_wait<0>();
  __syncthreads();
  auto* sums = reinterpret_cast<float*>(shared);
  product.put(sums);
  __syncthreads();
  store_tile<T, kBlockN>(a, part, sums, m0, n0, split);
}

// ---- the host's side ----

// The columns of a tile: least waste, and of two that waste alike the wider.
int chosen_block(int64_t columns) {
  int best = 128;
  int64_t least = 0;
  for (int n : {128, 64, 32, 16}) {
    const int64_t cost = divided_up(columns, n) * (n + 16);
    if (!least || cost < least) least = cost, best = n;
  }
  return best;
}

template <class F>
void dispatch_block(int block_n, F&& f) {
  switch (block_n) {
    case 16: return f.template operator()<16>();
    case 32: return f.template operator()<32>();
    case 64: return f.template operator()<64>();
    default: return f.template operator()<128>();
  }
}

}  // namespace

Taps make_taps(const TapsSpec& s) {
  Taps g{};
  g.rows = static_cast<int>(s.n * volume(s.box));
  g.sign = s.sign;
  g.count = static_cast<int>(volume(s.extent));
  check(g.count <= kMaxTaps, "implicit GEMM: ", g.count, " taps");
  for (int a = 0; a < 3; ++a) {
    g.box[a] = static_cast<int>(s.box[a]), g.origin[a] = static_cast<int>(s.origin[a]);
    g.step[a] = static_cast<int>(s.step[a]), g.source[a] = static_cast<int>(s.source[a]);
    g.extent[a] = static_cast<int>(s.extent[a]), g.by_box[a] = Divisor(static_cast<unsigned>(s.box[a]));
  }
  for (int t = 0; t < g.count; ++t) {
    const int at[3] = {t / (g.extent[1] * g.extent[2]), t / g.extent[2] % g.extent[1], t % g.extent[2]};
    for (int a = 0; a < 3; ++a) g.along[a][at[a]] |= 1u << t;
    g.offset[t] = s.sign * ((at[0] * g.source[1] + at[1]) * g.source[2] + at[2]);
  }
  return g;
}

GatherTiles::GatherTiles(const GatherProblem& p, const Shape& tile, int64_t full_grid)
    : block_n(tile.n), row_bytes(tile.row_bytes) {
  check(!p.parts.empty() && p.parts.size() <= kMaxParts, "gather_gemm: ", p.parts.size(), " parts");
  const int64_t step = row_bytes / static_cast<int64_t>(size_of(p.dtype));
  int64_t rows = 0, most_steps = 0;
  for (const auto& part : p.parts) {
    steps.push_back(divided_up(part.taps.count * (p.c[0] + p.c[1]), step));
    rows = std::max<int64_t>(rows, part.taps.rows);
    all_rows += part.taps.rows;
    most_steps = std::max(most_steps, steps.back());
  }
  tiles_n = divided_up(p.columns, block_n);
  tiles_m = divided_up(rows, tile.m);
  const int64_t blocks = tiles_n * tiles_m * static_cast<int64_t>(p.parts.size());
  splits = std::clamp<int64_t>(full_grid / blocks, 1, std::max<int64_t>(1, most_steps / 8));  // of at least 8 steps
}

size_t GatherTiles::weight_bytes() const {
  int64_t all_steps = 0;
  for (int64_t s : steps) all_steps += s;
  return static_cast<size_t>(all_steps * padded_columns() * row_bytes);
}

size_t GatherTiles::scratch_bytes() const {
  return splits == 1 ? 0 : static_cast<size_t>(splits * all_rows * padded_columns()) * 4;
}

GatherGemm::GatherGemm(GatherProblem p)
    : p_(std::move(p)), tiles_(p_, {kBlockM, chosen_block(p_.columns), kRowBytes}, kFullGrid) {}

int64_t GatherGemm::moment_chunks() const {
  const GatherPart& part = p_.parts[0];
  const bool in_order = std::equal(p_.to_extent.begin(), p_.to_extent.end(), part.taps.box);
  const bool whole_pieces = p_.columns == p_.to_c[0] && p_.columns % static_cast<int64_t>(16 / size_of(p_.dtype)) == 0;
  const int64_t voxels = volume(p_.to_extent);
  return tiles_.splits == 1 && in_order && whole_pieces && voxels % kBlockM == 0 ? voxels / kBlockM : 0;
}

void GatherGemm::pack(Stream& stream, const float* w, const float* b, void* packed) const {
  pack_gathered(stream, p_, tiles_, true, w, b, packed);
}

template <class F>
void GatherGemm::run_as(Stream& stream, const void* x, const void* x2, const void* packed, const GatherOutput& to,
                        void* scratch) const {
  using T = Stored<F>;
  Args<T> a{};
  set_destination(a, p_, tiles_, packed, to, scratch);
  a.from = {{static_cast<const T*>(x), static_cast<const T*>(x2)},
            {static_cast<int>(p_.c[0]), static_cast<int>(p_.c[1])},
            group_of(p_.dtype, p_.c[0], p_.c[1])};
  a.weights = static_cast<const T*>(packed);
  a.tiles_n = static_cast<int>(tiles_.tiles_n);
  a.moments = static_cast<float4*>(to.moments), a.voxels = static_cast<int>(volume(p_.to_extent));
  const dim3 grid(static_cast<unsigned>(tiles_.tiles_n * tiles_.tiles_m), static_cast<unsigned>(tiles_.splits),
                  static_cast<unsigned>(a.parts));
  dispatch_block(tiles_.block_n, [&]<int kBlockN>() {
    using S = TileShape<kBlockN>;
    const auto kernel = a.from.group == kVector<T> ? gather_gemm<F, kBlockN, false> : gather_gemm<F, kBlockN, true>;
    launch(kernel, grid, dim3(S::kThreads), S::kSharedBytes, stream, a);
  });
  launch_add_splits<T>(stream, a);
}

void GatherGemm::run(Stream& stream, const void* x, const void* x2, const void* packed, const GatherOutput& to,
                     void* scratch) const {
  dispatch_format(p_.dtype, p_.tf32, [&]<class F>() { run_as<F>(stream, x, x2, packed, to, scratch); });
}

}  // namespace metvox::METVOX_KERNEL_NS
