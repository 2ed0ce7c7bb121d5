// SPDX-License-Identifier: Apache-2.0
// dw of 3x3x3 convolutions of stride 1 and padding 1 in bf16 and f16, with few channels. NOT RUN ON HARDWARE YET:
// tested on the host executor, compiled for sm_90a; the rates below are derived, the wall clock is unknown.
//
// Product: M = 16 kh kw x kC channels of x, N = kK channels of dy, K = voxels; all 27 taps of the block's channels stay
// in
//   registers while it marches along the depth, so that x and dy are read once for each pair of channel tiles. kC and
//   kK are 32, or 16 where 32 does not divide.
// Threads: two warpgroups of consumers and one whose first thread asks for planes by TMA and gives its registers to the
//   others. The 9 kC / 16 units of 16 rows, (kh kw, 16 channels), are dealt to warps: 18 of 20 warp tiles are used at
//   kC = 32 (9 of 12 at 16), three tiles a warp of the first warpgroup, two of the second (144 and 96 sums a thread).
// Step: 16 voxels of a row. A warp takes its units' voxels by ldmatrix.trans at the tap's shift from the plane of x
// with
//   its halo, twice buffered, then multiplies them by the row of three planes of dy (kd = 0, 1, 2: d + 1, d, d - 1), N
//   major, by descriptor. A in registers serves all three.
// Shared memory: kXStages planes of x [kC / 8][18][18][8] (20.3 KiB at 32), kDyStages of dy [kK / 8][16][16][8] (16 KiB
//   at 32): 141 KiB. TMA fills with zeros outside of the image; a plane of dy that does not exist is a box outside.
// Sums: a block writes its own to scratch (f32, 108 KiB at 32 x 32), a second kernel adds them up in order: the same
//   bits in every run.
// Rates: 16 cycles a product of 64 x 32 x 16; a step of 15 products is 240 cycles of arithmetic and, for ldmatrix and
// dy,
//   200 of shared memory. 32>32 at 128^3, batch 2: 128 blocks of 128 planes x 16 steps = 0.49 M cycles, 0.28 ms
//   at 1.755 GHz or 0.33 at the clock that 798 TFLOP/s mean; floor 0.29 (232 GFLOP). Whether wgmma with A in registers
//   keeps its rate at N = 32 is to be measured first.
#include "kernels/cuda/plane_weights.h"

#include "kernels/cuda/implicit_gemm.h"
#include "kernels/cuda/plane_tiles.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

constexpr int kConsumers = 2, kThreads = (kConsumers + 1) * 128;
constexpr int kXStages = 3, kDyStages = 5;

struct Args {
  int depth, width;
  int items, tiles, tiles_w, segments, segment;
  int source_tiles;  // of channels, in the first source
  float* sums;       // [part][tile of c][tile of k][unit][kd][16][kK]
};

// One piece of work: planes [first, last) of x in a column of tiles.
struct Item {
  int n, h, w, first, last;
  METVOX_DEVICE Item(const Args& a, int item) {
    const int tile = item / a.segments % a.tiles;
    first = item % a.segments * a.segment;
    last = min(first + a.segment, a.depth);
    n = item / a.segments / a.tiles;
    h = tile / a.tiles_w * kTile;
    w = tile % a.tiles_w * kTile;
  }
};

template <int kC, int kK>
struct Stages {
  static constexpr int kX = kHaloBytes * kC / 8, kDy = kTileBytes * kK / 8, kUnits = 9 * kC / 16;
  static constexpr int kTiles = (kUnits + 3) / 4, kFirstTiles = (kTiles + 1) / 2;  // of all; of the first warpgroup
  static constexpr int kBytes = kXStages * kX + kDyStages * kDy;
  static constexpr int kSums = kUnits * 3 * 16 * kK;
};

#if METVOX_HOPPER

struct Shared {
  unsigned char *x, *dy;
  uint64_t *x_full, *x_empty, *dy_full, *dy_empty;
};

// Before x's plane d the planes of dy up to d + 1.
template <int kC, int kK>
METVOX_DEVICE void produce(const TensorMap& x, const TensorMap& dy, const Args& a, const Shared& s, int source_tile) {
  using S = Stages<kC, kK>;
  int x_step = 0, dy_step = 0;
  for (int i = static_cast<int>(blockIdx.x); i < a.items; i += static_cast<int>(gridDim.x)) {
    const Item at(a, i);
    for (int plane = at.first - 1; plane <= at.last; ++plane, ++dy_step) {
      const int stage = dy_step % kDyStages;
      mbarrier_wait(&s.dy_empty[stage], (dy_step / kDyStages & 1) ^ 1);
      mbarrier_arrive_expect(&s.dy_full[stage], S::kDy);
      const bool exists = plane >= 0 && plane < a.depth;
      tma_load<5>(s.dy + stage * S::kDy, dy, &s.dy_full[stage],
                  {0, exists ? at.w : a.width, at.h, static_cast<int>(blockIdx.z) * (kK / 8),
                   exists ? at.n * a.depth + plane : 0});
      if (plane <= at.first) continue;
      const int x_stage = x_step % kXStages;
      mbarrier_wait(&s.x_empty[x_stage], (x_step++ / kXStages & 1) ^ 1);
      mbarrier_arrive_expect(&s.x_full[x_stage], S::kX);
      tma_load<5>(s.x + x_stage * S::kX, x, &s.x_full[x_stage],
                  {0, at.w - 1, at.h - 1, source_tile * (kC / 8), at.n * a.depth + plane - 1});
    }
  }
}

// kTiles tiles of a warp of the sums.
template <class T, int kC, int kK, int kTiles>
struct Sums {
  using S = Stages<kC, kK>;
  float sum[kTiles][3][kK / 2];
  int from[kTiles];  // where in a plane of x this lane's row of ldmatrix begins, for the first step
  int first_unit, lane;

  METVOX_DEVICE Sums(int thread, int first_tile) : first_unit(first_tile * 4 + thread / 32 % 4), lane(thread % 32) {
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      const int unit = min(first_unit + 4 * i, S::kUnits - 1), tap = unit / (kC / 16), group = unit % (kC / 16) * 2;
      const int voxel = tap / 3 * kHalo + tap % 3 + lane % 8 + lane / 16 * 8;
      from[i] = (group + lane / 8 % 2) * kHaloBytes + voxel * 16;
#pragma unroll
      for (int kd = 0; kd < 3; ++kd)
#pragma unroll
        for (int j = 0; j < kK / 2; ++j) sum[i][kd][j] = 0;
    }
  }

  // A row of voxels, when the fragments' last use is over.
  METVOX_DEVICE void step(uint32_t (&fragment)[kTiles][4], const unsigned char* x, const uint64_t (&dy)[3], int row) {
#pragma unroll
    for (int i = 0; i < kTiles; ++i) ldmatrix_x4_trans(fragment[i], x + from[i] + row * kHaloRowBytes);
    wgmma_fence(fragment);
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
#pragma unroll
      for (int kd = 0; kd < 3; ++kd)
        wgmma<T, kK, Major::mn>(sum[i][kd], fragment[i], dy[kd] + row * (kTileRowBytes / 16));
    wgmma_commit();
    wgmma_wait<1>();
  }

  METVOX_DEVICE void add(const unsigned char* x, const uint64_t (&dy)[3]) {
    uint32_t fragment[2][kTiles][4];
    wgmma_fence(sum);
#pragma unroll 1
    for (int row = 0; row < kTile; row += 2) {
      step(fragment[0], x, dy, row);
      step(fragment[1], x, dy, row + 1);
    }
    wgmma_wait<0>(sum);
  }

  METVOX_DEVICE void store(float* to) const {
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      const int unit = first_unit + 4 * i;
      if (unit >= S::kUnits) continue;
#pragma unroll
      for (int kd = 0; kd < 3; ++kd)
#pragma unroll
        for (int j = 0; j < kK / 2; j += 2) {
          const int row = lane / 4 + j / 2 % 2 * 8, column = j / 4 * 8 + lane % 4 * 2;
          *reinterpret_cast<float2*>(to + ((unit * 3 + kd) * 16 + row) * kK + column) =
              make_float2(sum[i][kd][j], sum[i][kd][j + 1]);
        }
    }
  }
};

template <class T, int kC, int kK, int kTiles>
METVOX_DEVICE void consume(const Args& a, const Shared& s, int first_tile, float* to) {
  using S = Stages<kC, kK>;
  more_registers<240>();
  Sums<T, kC, kK, kTiles> sums(static_cast<int>(threadIdx.x), first_tile);
  const bool first_lane = threadIdx.x % 32 == 0;
  const auto release = [&](int dy_step) {
    if (first_lane) mbarrier_arrive(&s.dy_empty[dy_step % kDyStages]);
  };
  int x_step = 0, dy_step = 0;  // the latter of the plane before x's
  for (int i = static_cast<int>(blockIdx.x); i < a.items; i += static_cast<int>(gridDim.x)) {
    const Item at(a, i);
    for (int plane = at.first; plane < at.last; ++plane, ++x_step, ++dy_step) {
      const int stage = x_step % kXStages;
      uint64_t dy[3];
#pragma unroll
      for (int kd = 0; kd < 3; ++kd) {
        const int of = dy_step + 2 - kd;
        mbarrier_wait(&s.dy_full[of % kDyStages], of / kDyStages & 1);
        dy[kd] = descriptor_cores(s.dy + of % kDyStages * S::kDy, 128, kTileBytes);
      }
      mbarrier_wait(&s.x_full[stage], x_step / kXStages & 1);
      sums.add(s.x + stage * S::kX, dy);
      __syncwarp();  // every lane has read x
      if (first_lane) mbarrier_arrive(&s.x_empty[stage]);
      release(dy_step);
    }
    release(dy_step++);
    release(dy_step++);
  }
  sums.store(to);
}

#endif

template <class T, int kC, int kK>
__global__ void __launch_bounds__(kThreads, 1)
    plane_products(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap x2,
                   const __grid_constant__ TensorMap dy, const __grid_constant__ Args a) {
#if METVOX_HOPPER
  using S = Stages<kC, kK>;
  METVOX_SHARED_DYN_1024(unsigned char, shared);
  METVOX_SHARED(uint64_t, barriers, [2 * (kXStages + kDyStages)]);
  const Shared s{shared,
                 shared + kXStages * S::kX,
                 barriers,
                 barriers + kXStages,
                 barriers + 2 * kXStages,
                 barriers + 2 * kXStages + kDyStages};
  const int t = static_cast<int>(threadIdx.x), tile_c = static_cast<int>(blockIdx.y);
  if (t == 0) {
    for (int i = 0; i < kXStages; ++i) mbarrier_init(&s.x_full[i], 1), mbarrier_init(&s.x_empty[i], kConsumers * 4);
    for (int i = 0; i < kDyStages; ++i) mbarrier_init(&s.dy_full[i], 1), mbarrier_init(&s.dy_empty[i], kConsumers * 4);
    fence_mbarrier_init();
  }
  __syncthreads();
  const int64_t place = (static_cast<int64_t>(blockIdx.x) * gridDim.y + blockIdx.y) * gridDim.z + blockIdx.z;
  float* const to = a.sums + place * S::kSums;
  if (t < 128) {
    consume<T, kC, kK, S::kFirstTiles>(a, s, 0, to);
  } else if (t < 256) {
    consume<T, kC, kK, S::kTiles - S::kFirstTiles>(a, s, S::kFirstTiles, to);
  } else {
    fewer_registers<24>();
    const bool second = tile_c >= a.source_tiles;
    if (t == 256) produce<kC, kK>(second ? x2 : x, dy, a, s, second ? tile_c - a.source_tiles : tile_c);
  }
#endif
}

struct AddArgs {
  const float* sums;
  float* dw;
  int64_t all;  // sums of a part
  int parts, tiles_k, tile_c, tile_k, channels;
  bool accumulate;
};

// A thread for each element of dw, in the order of the sums.
__global__ void __launch_bounds__(256) add_parts(const __grid_constant__ AddArgs a) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (i >= a.all) return;
  float sum = 0;
  for (int part = 0; part < a.parts; ++part) sum += a.sums[part * a.all + i];
  int rest = static_cast<int>(i);
  const auto digit = [&](int base) {
    const int d = rest % base;
    rest /= base;
    return d;
  };
  const int column = digit(a.tile_k), row = digit(16), kd = digit(3), group = digit(a.tile_c / 16), tap = digit(9);
  const int k = digit(a.tiles_k) * a.tile_k + column, c = rest * a.tile_c + group * 16 + row;
  float& to = a.dw[(static_cast<int64_t>(k) * a.channels + c) * 27 + kd * 9 + tap];
  to = a.accumulate ? to + sum : sum;
}

// ---- the host's side ----

// Blocks for the processors of an H100. Not for those of the device: how the sums are split decides their last bits,
// which must be the same on each GPU that runs this kernel.
constexpr int64_t kProcessors = 132, kLeastPlanes = 4;  // kLeastPlanes: of a block

}  // namespace

PlaneWeights::PlaneWeights(DType dtype, int64_t n, const Int3& extent, const int64_t (&c)[2], int64_t k)
    : dtype_(dtype), n_(n), extent_(extent), c_{c[0], c[1]}, k_(k) {
  tile_c_ = c[0] % 32 == 0 && c[1] % 32 == 0 ? 32 : 16;
  tile_k_ = k % 32 == 0 ? 32 : 16;
  tiles_ = divided_up(extent[1], kTile) * divided_up(extent[2], kTile);
  const int64_t pairs = (c[0] + c[1]) / tile_c_ * (k / tile_k_);
  const int64_t wanted = kProcessors / (n * tiles_ * pairs);
  segment_ = divided_up(extent[0], std::clamp<int64_t>(wanted, 1, std::max<int64_t>(1, extent[0] / kLeastPlanes)));
  segments_ = divided_up(extent[0], segment_);
  parts_ = std::min(items(), std::max<int64_t>(1, kProcessors / pairs));
}

size_t PlaneWeights::scratch_bytes() const {
  return static_cast<size_t>(parts_ * (c_[0] + c_[1]) * k_ * 27) * sizeof(float);
}

void PlaneWeights::run(Stream& stream, View x, View x2, View dy, float* dw, Grad grad, void* scratch) const {
  Args a{};
  a.depth = static_cast<int>(extent_[0]), a.width = static_cast<int>(extent_[2]);
  a.items = static_cast<int>(items()), a.tiles = static_cast<int>(tiles_);
  a.tiles_w = static_cast<int>(divided_up(extent_[2], kTile));
  a.segments = static_cast<int>(segments_), a.segment = static_cast<int>(segment_);
  a.source_tiles = static_cast<int>(c_[0]) / tile_c_;
  a.sums = static_cast<float*>(scratch);
  const TensorMap from = plane_map(x, kHalo, tile_c_), from2 = c_[1] ? plane_map(x2, kHalo, tile_c_) : from;
  const TensorMap of = plane_map(dy, kTile, tile_k_);
  const dim3 grid(static_cast<unsigned>(parts_), static_cast<unsigned>((c_[0] + c_[1]) / tile_c_),
                  static_cast<unsigned>(k_ / tile_k_));
  dispatch_half(dtype_, [&]<class T>() {
    dispatch_16_32(tile_c_, tile_k_, [&]<int kC, int kK>() {
      launch(plane_products<T, kC, kK>, grid, dim3(kThreads), Stages<kC, kK>::kBytes, stream, from, from2, of, a);
    });
  });
  const AddArgs add{
      a.sums,  dw,      (c_[0] + c_[1]) * k_ * 27,       static_cast<int>(parts_), static_cast<int>(k_) / tile_k_,
      tile_c_, tile_k_, static_cast<int>(c_[0] + c_[1]), grad == Grad::accumulate};
  launch(add_parts, dim3(static_cast<unsigned>(divided_up(add.all, 256))), dim3(256), 0, stream, add);
}

}  // namespace metvox::METVOX_KERNEL_NS
