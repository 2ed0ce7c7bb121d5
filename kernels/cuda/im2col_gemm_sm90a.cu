// SPDX-License-Identifier: Apache-2.0
// The gathered matrix product in bf16 and f16 for many channels on Hopper: what convolutions with 64 or more channels
// in and out are, forward and backward data, of stride 2 as well (eight parts, by parity). NOT RUN ON HARDWARE YET:
// tested on the host executor, compiled for sm_90a; the rates below are derived, the wall clock is unknown.
//
// A step along K is a tap and 64 channels of one source: 128 bytes of each row. One TMA load by im2col brings them for
//   all rows of the tile: it walks the voxels in order, skips what the kernel's place does not reach at the end of a
//   line, and fills with zeros outside of the image. One tiled load brings the columns of w, which lie packed in the
//   order of the steps (gather_gemm.h). Both under the 128-byte swizzle, as wgmma wants its operands with K inside.
// Tiles: 128 x 128, 256 x 128 or 128 x 256 (rows x columns), a block each; the list kShapes says what a step of each
//   costs. Wider tiles read less from L2, taller ones fit 128 columns, the small one few rows.
// Threads: two warpgroups of consumers, each with half of the rows (64 or 128 sums a thread), and one whose first
//   thread asks for the loads, kStages ahead; full and empty mbarriers between them. The third has 40 registers and
//   gives the rest to the other two, 232 each. A stage is free when the products after its own have been issued and its
//   own are done: one group of products is always under way.
// Shared memory: stages of (rows + columns) x 128 bytes, 6 of 32 KiB or 4 of 48 KiB: 192 KiB, so one block a
//   multiprocessor. One tile a block, not a grid that stays: a tile of the layers that count has 54 steps or more, some
//   30 microseconds, of which filling the stages and storing, not overlapped, are about one.
// Deep stages have few rows and a long K, which is then split over blocks; a second kernel adds the parts in order
//   (gather_store.h). Blocks that share rows are neighbours in the grid.
// Rates: m64n128k16 takes 64 cycles of arithmetic (2,048 multiply-adds a cycle and multiprocessor), m64n256k16 128.
//   128>128 at 32^3, batch 2: 256 tiles of 54 steps of 1,152 cycles in two waves, 0.071 ms at 1.755 GHz; 58 GFLOP at
//   798 TFLOP/s are 0.073. 256>256 at 16^3, batch 2: 64 tiles, each K in two halves of 54 steps of 1,024 cycles, 0.032
//   ms; 29 GFLOP are 0.036. L2 may be what counts: 48 KiB a step and tile are 680 MB and 340 MB, at 5.5 TB/s (assumed)
//   0.12 and 0.06 ms.
// To look at first on hardware: that rate of L2. Clusters of two blocks that share columns or rows, with multicast
//   loads, halve one of the two streams; the executor does not know them.
#include "kernels/cuda/im2col_gemm.h"

#include <algorithm>

#include "kernels/cuda/gather_store.h"
#include "kernels/cuda/hopper.h"
#include "kernels/cuda/quad.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

constexpr int kConsumers = 2, kThreads = (kConsumers + 1) * 128;
constexpr int kStepChannels = 64, kStepBytes = kStepChannels * 2;  // of a step: channels of a tap, and their bytes
constexpr int kMostImages = 8;

template <int kM, int kN>
struct TileShape {
  static constexpr int kPatches = kM / (64 * kConsumers);  // of 64 rows, for a warpgroup
  static constexpr int kImageBytes = kM * kStepBytes, kStageBytes = (kM + kN) * kStepBytes;
  static constexpr int kStages = (192 << 10) / kStageBytes;
};

// What a step of each shape takes in cycles, the larger of arithmetic (kM kN / 32) and shared memory at 128 bytes a
// cycle: a product reads 64 rows and all columns, and both operands are written once.
struct ShapeCost {
  int m, n, cycles;
};
constexpr ShapeCost kShapes[] = {{128, 128, 640}, {256, 128, 1152}, {128, 256, 1024}};

struct Maps {
  TensorMap image[kMostImages];  // [part][source]
  TensorMap weights;
};

template <class T>
struct Args : Destination<T> {
  int sources, chunks[2];  // chunks of kStepChannels channels
  int tiles_n;
};

// What a block computes: steps [first, last) of a tile.
struct Place {
  int m, n, split, first, last;
  template <class T>
  METVOX_DEVICE Place(const Args<T>& a, const Part& part, int tile_m, int tile_n)
      : m(static_cast<int>(blockIdx.x) / a.tiles_n * tile_m),
        n(static_cast<int>(blockIdx.x) % a.tiles_n * tile_n),
        split(static_cast<int>(blockIdx.y)),
        first(static_cast<int>(static_cast<int64_t>(part.steps) * split / a.splits)),
        last(static_cast<int>(static_cast<int64_t>(part.steps) * (split + 1) / a.splits)) {}
};

#if METVOX_HOPPER

struct Shared {
  unsigned char* stages;
  uint64_t *full, *empty;
};

// Of the part's taps in the order of memory, whichever way they run: the first, where the kernel's place is `at`.
METVOX_DEVICE int first_voxel(const Taps& g, int axis, int at) {
  return at * g.step[axis] + g.origin[axis] - (g.sign < 0 ? g.extent[axis] - 1 : 0);
}

// One thread: all steps of the tile.
template <class T, int kM, int kN>
METVOX_DEVICE void produce(const Maps& maps, const Args<T>& a, const Part& part, const Place& at, const Shared& s) {
  using S = TileShape<kM, kN>;
  const Taps& g = part.taps;
  const RowPosition row(g, at.m);
  const int w = first_voxel(g, 2, row.at[2]), h = first_voxel(g, 1, row.at[1]), d = first_voxel(g, 0, row.at[0]);
  const TensorMap* const images = maps.image + blockIdx.z * a.sources;
  const int chunks = a.chunks[0] + a.chunks[1];
  int weights = static_cast<int>(part.weight_row) + (at.n / kN * part.steps + at.first) * kN;
  for (int step = at.first; step < at.last; ++step, weights += kN) {
    const int turn = step - at.first, stage = turn % S::kStages;
    unsigned char* const to = s.stages + stage * S::kStageBytes;
    const int tap = step / chunks, chunk = step % chunks;
    const bool second = chunk >= a.chunks[0];
    int index[3] = {tap % g.extent[2], tap / g.extent[2] % g.extent[1], tap / g.extent[2] / g.extent[1]};
    if (g.sign < 0)
#pragma unroll
      for (int k = 0; k < 3; ++k) index[k] = g.extent[2 - k] - 1 - index[k];
    mbarrier_wait(&s.empty[stage], (turn / S::kStages & 1) ^ 1);
    mbarrier_arrive_expect(&s.full[stage], S::kStageBytes);
    tma_load_im2col(to, images[second], &s.full[stage],
                    {(second ? chunk - a.chunks[0] : chunk) * kStepChannels, w, h, d, row.n}, index);
    tma_load<2>(to + S::kImageBytes, maps.weights, &s.full[stage], {0, weights});
  }
}

// A warpgroup's sums: rows `row` to `row` + 64 kPatches - 1 of the tile, all columns.
template <class T, int kM, int kN>
struct Consumer {
  using S = TileShape<kM, kN>;
  float sum[S::kPatches][kN / 2] = {};
  int row, warp, lane;

  METVOX_DEVICE explicit Consumer(int thread)
      : row(thread / 128 * 64 * S::kPatches), warp(thread / 32 % 4), lane(thread % 32) {}

  // Issues the products of a stage.
  METVOX_DEVICE void add(const unsigned char* stage) {
    const uint64_t x = descriptor_128(stage + row * kStepBytes), w = descriptor_128(stage + S::kImageBytes);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kStepChannels / 16; ++k)
#pragma unroll
      for (int p = 0; p < S::kPatches; ++p)
        wgmma<T, kN>(sum[p], x + (p * 64 * kStepBytes + k * 32) / 16, w + k * 32 / 16);
    wgmma_commit();
  }

  METVOX_DEVICE void add_all(const Place& at, const Shared& s) {
    const int turns = at.last - at.first;
    wgmma_fence(sum);
    for (int turn = 0; turn < turns; ++turn) {
      const int stage = turn % S::kStages;
      mbarrier_wait(&s.full[stage], turn / S::kStages & 1);
      add(s.stages + stage * S::kStageBytes);
      wgmma_wait<1>();
      if (turn > 0 && lane == 0) mbarrier_arrive(&s.empty[(turn - 1) % S::kStages]);
    }
    wgmma_wait<0>(sum);
  }

  // Each lane gathers 8 neighbouring columns of a row from the 4 lanes that have 2 each.
  METVOX_DEVICE void store(const Args<T>& a, const Part& part, const Place& at) const {
#pragma unroll
    for (int p = 0; p < S::kPatches; ++p)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int to = at.m + row + p * 64 + warp * 16 + half * 8 + lane / 4;
#pragma unroll
        for (int quad = 0; quad < kN / 32; ++quad) {
          float even[4], odd[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            even[i] = sum[p][(quad * 4 + i) * 4 + half * 2];
            odd[i] = sum[p][(quad * 4 + i) * 4 + half * 2 + 1];
          }
          transpose_quad(even, lane);
          transpose_quad(odd, lane);
          float v[8];
#pragma unroll
          for (int i = 0; i < 4; ++i) v[2 * i] = even[i], v[2 * i + 1] = odd[i];
          if (to < part.taps.rows) store_sums<T>(a, part, to, at.n + (quad * 4 + lane % 4) * 8, at.split, v);
        }
      }
  }
};

#endif

template <class T, int kM, int kN>
__global__ void __launch_bounds__(kThreads, 1)
    im2col_gemm(const __grid_constant__ Maps maps, const __grid_constant__ Args<T> a) {
#if METVOX_HOPPER
  using S = TileShape<kM, kN>;
  METVOX_SHARED_DYN_1024(unsigned char, stages);
  METVOX_SHARED(uint64_t, barriers, [2 * S::kStages]);
  const Part& part = a.part[blockIdx.z];
  const Place at(a, part, kM, kN);
  if (at.m >= part.taps.rows || ignored<T>(a, at.n, min(at.n + kN, a.columns))) return;
  const Shared s{stages, barriers, barriers + S::kStages};
  const int t = static_cast<int>(threadIdx.x);
  if (t == 0) {
    for (int i = 0; i < S::kStages; ++i) {
      mbarrier_init(&s.full[i], 1);
      mbarrier_init(&s.empty[i], kConsumers * 4);
    }
    fence_mbarrier_init();
  }
  __syncthreads();
  if (t >= kConsumers * 128) {
    fewer_registers<40>();
    if (t == kConsumers * 128) produce<T, kM, kN>(maps, a, part, at, s);
    return;
  }
  more_registers<232>();
  Consumer<T, kM, kN> consumer(t);
  consumer.add_all(at, s);
  consumer.store(a, part, at);
#endif
}

// ---- the host's side ----

const ShapeCost& chosen_shape(const GatherProblem& p) {
  const auto cost = [&](const ShapeCost& s) {
    int64_t tiles = 0;
    for (const auto& part : p.parts) tiles += divided_up(part.taps.rows, s.m) * divided_up(p.columns, s.n);
    return tiles * s.cycles;
  };
  return *std::min_element(std::begin(kShapes), std::end(kShapes),
                           [&](const ShapeCost& a, const ShapeCost& b) { return cost(a) < cost(b); });
}

template <class F>
void dispatch_shape(int m, int n, F&& f) {
  if (n == 256) f.template operator()<128, 256>();
  else if (m == 256) f.template operator()<256, 128>();
  else f.template operator()<128, 128>();
}

// The image as the part's taps see it. Its voxels under the first tap of all places of the kernel make the bounding
// box.
Im2colTile tile_of(const GatherProblem& p, const Taps& g, int source, const void* image, int rows) {
  Im2colTile tile{};
  tile.dtype = p.dtype, tile.base = const_cast<void*>(image);
  tile.n = g.rows / (g.box[0] * g.box[1] * g.box[2]), tile.c = p.c[source];
  for (int a = 0; a < 3; ++a) {
    tile.extent[a] = g.source[a], tile.step[a] = g.step[a];
    tile.lower[a] = g.origin[a] - (g.sign < 0 ? g.extent[a] - 1 : 0);
    tile.upper[a] = tile.lower[a] + (g.box[a] - 1) * g.step[a] - (g.source[a] - 1);
  }
  tile.channels = kStepChannels, tile.pixels = static_cast<uint32_t>(rows);
  return tile;
}

int sources_of(const GatherProblem& p) { return p.c[1] > 0 ? 2 : 1; }

}  // namespace

std::optional<std::string> Im2colGemm::declines(const GatherProblem& p) {
  if (p.dtype != DType::bf16 && p.dtype != DType::f16) return sentence("for bf16 and f16, not ", name_of(p.dtype));
  if (p.c[0] % kStepChannels || p.c[1] % kStepChannels)
    return sentence("for inputs of multiples of ", kStepChannels, " channels");
  if (p.columns < 64 || p.block_columns % 8 || p.to_c[0] % 8 || p.to_c[1] % 8)
    return "for outputs of at least 64 channels, multiples of 8";
  if (static_cast<int>(p.parts.size()) * sources_of(p) > kMostImages) return "too many parts for two inputs";
  for (const auto& part : p.parts) {
    const Im2colTile tile = tile_of(p, part.taps, 0, nullptr, 1);
    for (int a = 0; a < 3; ++a)
      if (part.taps.extent[a] < 1 || std::abs(tile.lower[a]) > 15 || std::abs(tile.upper[a]) > 15 || tile.step[a] > 8)
        return "for kernels that reach at most 15 voxels out of the image, and strides up to 8";
  }
  return std::nullopt;
}

Im2colGemm::Im2colGemm(GatherProblem p)
    : p_(std::move(p)),
      tile_m_(chosen_shape(p_).m),
      tiles_(p_, {tile_m_, chosen_shape(p_).n, kStepBytes}, kFullGrid / 2) {}

void Im2colGemm::pack(Stream& stream, const float* w, const float* b, void* packed) const {
  pack_gathered(stream, p_, tiles_, false, w, b, packed);
}

template <class T>
void Im2colGemm::run_as(Stream& stream, const void* x, const void* x2, const void* packed, const GatherOutput& to,
                        void* scratch) const {
  const void* const images[2] = {x, x2};
  Args<T> a{};
  set_destination(a, p_, tiles_, packed, to, scratch);
  a.sources = sources_of(p_), a.tiles_n = static_cast<int>(tiles_.tiles_n);
  for (int i = 0; i < 2; ++i) a.chunks[i] = static_cast<int>(p_.c[i]) / kStepChannels;
  Maps maps{};
  for (int i = 0; i < a.parts * a.sources; ++i) {
    const int source = i % a.sources;
    maps.image[i] = make_im2col_map(tile_of(p_, p_.parts[i / a.sources].taps, source, images[source], tile_m_));
  }
  const auto rows = static_cast<uint64_t>(tiles_.weight_bytes() / kStepBytes);
  maps.weights = make_tensor_map({p_.dtype,
                                  const_cast<void*>(packed),
                                  2,
                                  {kStepChannels, rows},
                                  {0, kStepBytes},
                                  {kStepChannels, static_cast<uint32_t>(tiles_.block_n)},
                                  true});
  const dim3 grid(static_cast<unsigned>(tiles_.tiles_n * tiles_.tiles_m), static_cast<unsigned>(tiles_.splits),
                  static_cast<unsigned>(a.parts));
  dispatch_shape(tile_m_, tiles_.block_n, [&]<int kM, int kN>() {
    using S = TileShape<kM, kN>;
    launch(im2col_gemm<T, kM, kN>, grid, dim3(kThreads), S::kStages * S::kStageBytes, stream, maps, a);
  });
  launch_add_splits<T>(stream, a);
}

void Im2colGemm::run(Stream& stream, const void* x, const void* x2, const void* packed, const GatherOutput& to,
                     void* scratch) const {
  if (p_.dtype == DType::bf16) run_as<bf16>(stream, x, x2, packed, to, scratch);
  else run_as<f16>(stream, x, x2, packed, to, scratch);
}

}  // namespace metvox::METVOX_KERNEL_NS
