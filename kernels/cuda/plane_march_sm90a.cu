// SPDX-License-Identifier: Apache-2.0
// Convolutions 3x3x3 of stride 1 and padding 1 in bf16 and f16, with few channels: forward, and backward data as the
// same product with flipped weights. NOT RUN ON HARDWARE YET: tested on the host executor, compiled for
// sm_90a; the rates below are derived, the wall clock is unknown.
//
// Why: at 32 and 64 channels an im2col product is bound by L2, which would have to deliver every voxel 27 times (32>32:
//   25 TB/s for 800 TFLOP/s, L2 has about 5.5), and wgmma with N = 32 by shared memory (A 16 + B 8 cycles for 16 of
//   arithmetic). So a block loads each plane of its tile once, and N holds three taps.
// Work of a block: 16 x 16 voxels of a plane x kK = 16 or 32 columns (output channels), marching along depth. For each
//   input plane d, A = the plane shifted by (kh, kw), B = [channels][3 kd x kK]: 9 shifts x channels / 16 products of
//   64 x 3 kK x 16. The three thirds of the sums belong to output planes d + 1, d, d - 1; when the plane is done the
//   last is complete and leaves, the others move up by one.
// Threads: two warpgroups of consumers, each with two patches of 8 x 8 voxels (96 sums a thread at kK = 32), and one
//   whose first thread asks for the planes by TMA, kStages loads ahead; full and empty mbarriers between them. The
//   third gives its registers to the other two.
// Shared memory: weights of the block's columns for all channels, [chunk][kh kw][kChunk / 8][kd kK][8], 54 bytes a
//   channel and column: 54 KiB at 32>32, 108 KiB at most; kStages of a chunk's plane [kChunk / 8][18][18][8],
//   10.1 KiB at 16 channels, 20.3 at 32. No swizzle: any 8 voxels of a row are a core matrix of 128 bytes
//   (conflict-free wherever it begins), a shift moves the descriptor by 16 bytes or by a row, its strides are the row
//   and the group of 8 channels. TMA fills with zeros outside of the image; planes outside are skipped.
// Moments, where a norm wants them, are of the sums as they are stored: 3 numbers a thread and column while the block
//   marches, merged over the lanes of a warp every 8 planes; 3 % of the bytes of y. Some 200 instructions a thread and
//   plane, which the other warpgroup's products are to hide.
// Rates: m64n96k16 takes 48 cycles of arithmetic (2,048 multiply-adds a cycle and SM), 16 + 24 of shared memory;
//   m64n48k16 24 and 28. 32>32 at 128^3, batch 2: 128 blocks of 128 planes x 72 products = 0.44 M cycles, 0.25 ms at
//   1.755 GHz or 0.30 at the clock that 798 TFLOP/s mean; 232 GFLOP at 798 TFLOP/s are 0.29 ms; 268 MB in and as much
//   out at 3.0 TB/s 0.18 ms. Aim 0.45 to 0.55. 64>64 at 64^3, batch 2: two blocks read each plane,
//   two segments of depth make 128 blocks of 33 planes x 144 products, 0.23 M cycles: 0.13 or 0.155 ms, floor 0.145.
// To look at first on hardware: TMA with boxes of 16 inner bytes (half a sector of L2 each).
#include "kernels/cuda/plane_march.h"

#include <algorithm>

#include "kernels/cuda/implicit_gemm.h"
#include "kernels/cuda/moments.h"
#include "kernels/cuda/plane_tiles.h"
#include "kernels/cuda/quad.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

constexpr int kPatch = 8, kTaps = 9;
constexpr int kConsumers = 2, kPatches = 2;  // warpgroups, patches of each
constexpr int kThreads = (kConsumers + 1) * 128, kStages = 4;
// Moments are of so many planes, wherever blocks begin: the same bits on each GPU. Warps of a block give their own.
constexpr int kMomentPlanes = 8, kMomentWarps = kConsumers * 4;
// Weights come as boxes of rows of 128 bytes: one for 16 channels x 16 columns.
constexpr int kWeightRow = 64, kWeightRows = 108, kWeightBox = kWeightRows * kWeightRow * 2;

template <class T>
struct Args {
  int depth, height, width, channels;  // of the image; from both sources
  int chunks[2];                       // of the sources
  int segment;                         // planes of a block
  int tiles_w, tiles_k;
  const float* bias;
  T* to[2];
  int to_c[2];
  Grad grad[2];
  float4* moments;  // [sample][column][kMomentPlanes of planes][tile][warp], if wanted
  int tiles;        // of a plane
  int moment_chunks;
};

// What a block computes.
struct Place {
  int n, first, last, h, w, k_tile;  // planes [first, last)
  template <class T>
  METVOX_DEVICE explicit Place(const Args<T>& a) {
    const int tile = static_cast<int>(blockIdx.x) / a.tiles_k;
    k_tile = static_cast<int>(blockIdx.x) % a.tiles_k;
    n = static_cast<int>(blockIdx.z);
    first = static_cast<int>(blockIdx.y) * a.segment;
    last = min(first + a.segment, a.depth);
    h = tile / a.tiles_w * kTile;
    w = tile % a.tiles_w * kTile;
  }
};

// Where the block's columns go.
template <class T>
struct Output {
  T* data;  // of the first column
  int channels;
  Grad grad;
  METVOX_DEVICE Output(const Args<T>& a, int column) {
    const bool second = column >= a.to_c[0];
    channels = a.to_c[second];
    data = a.to[second] + (second ? column - a.to_c[0] : column);
    grad = a.grad[second];
  }
};

#if METVOX_HOPPER

struct Shared {
  unsigned char *weights, *planes;
  uint64_t *full, *empty, *weights_full;
};

// One thread: the weights, then all planes that the block's outputs need, chunk by chunk.
template <class T, int kChunk>
METVOX_DEVICE void produce(const TensorMap& x, const TensorMap& x2, const TensorMap& weights, const Args<T>& a,
                           const Place& at, const Shared& s, int weight_boxes) {
  mbarrier_arrive_expect(s.weights_full, static_cast<uint32_t>(weight_boxes) * kWeightBox);
  for (int i = 0; i < weight_boxes; ++i)
    tma_load<2>(s.weights + i * kWeightBox, weights, s.weights_full, {0, (at.k_tile * weight_boxes + i) * kWeightRows});
  constexpr int kBytes = kHaloBytes * kChunk / 8;
  int step = 0;
  for (int plane = max(at.first - 1, 0); plane < min(at.last + 1, a.depth); ++plane)
    for (int chunk = 0; chunk < a.chunks[0] + a.chunks[1]; ++chunk, ++step) {
      const int stage = step % kStages;
      mbarrier_wait(&s.empty[stage], (step / kStages & 1) ^ 1);
      mbarrier_arrive_expect(&s.full[stage], kBytes);
      const bool second = chunk >= a.chunks[0];
      const int group = (second ? chunk - a.chunks[0] : chunk) * (kChunk / 8);
      tma_load<5>(s.planes + stage * kBytes, second ? x2 : x, &s.full[stage],
                  {0, at.w - 1, at.h - 1, group, at.n * a.depth + plane});
    }
}

// A warpgroup's sums: sum[patch][kd kK], kd = 0 the plane after the one that was last added, 2 the one before it.
template <class T, int kChunk, int kK, bool kMoments>
struct Consumer {
  static constexpr int kN = 3 * kK, kThird = kK / 2;  // columns of a product; registers of a plane
  float sum[kPatches][kN / 2];
  const float* bias;                // of the lane's first column; read again for each plane, to save registers
  uint32_t origin[kThird / 4];      // of two columns each: their first voxel since the last multiple of kMomentPlanes,
  Distances distances[kThird / 2];  // and all of theirs from there
  int row, warp, lane;              // the warpgroup's first row in the tile, warp of the warpgroup

  METVOX_DEVICE Consumer(int thread, const float* of_columns)
      : bias(of_columns + thread % 4 * 2), row(thread / 128 * kPatch), warp(thread / 32 % 4), lane(thread % 32) {
#pragma unroll
    for (int third = 0; third < 3; ++third) begin(third);
  }

  METVOX_DEVICE void begin(int third) {
#pragma unroll
    for (int p = 0; p < kPatches; ++p)
#pragma unroll
      for (int i = 0; i < kThird; ++i) sum[p][third * kThird + i] = bias[i / 4 * 8 + i % 2];
  }

  // The other planes move up by one.
  METVOX_DEVICE void advance() {
#pragma unroll
    for (int p = 0; p < kPatches; ++p)
#pragma unroll
      for (int i = kN / 2 - 1; i >= kThird; --i) sum[p][i] = sum[p][i - kThird];
    begin(0);
  }

  // A chunk's plane, all of its shifts.
  METVOX_DEVICE void add(const unsigned char* plane, const unsigned char* weights) {
    const uint64_t a = descriptor_cores(plane + row * kHaloRowBytes, kHaloBytes, kHaloRowBytes);
    const uint64_t b = descriptor_cores(weights, kN * 16, 128);
    wgmma_fence(sum);
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap)
#pragma unroll
      for (int k = 0; k < kChunk / 16; ++k)
#pragma unroll
        for (int p = 0; p < kPatches; ++p)
          wgmma<T, kN>(sum[p], a + (2 * k * kHaloBytes + tap / 3 * kHaloRowBytes + (tap % 3 + p * kPatch) * 16) / 16,
                       b + (tap * kChunk / 8 + 2 * k) * kN);
    wgmma_commit();
    wgmma_wait<0>(sum);
  }

  // The complete plane. Each lane gathers 8 neighbouring columns of a voxel from the 4 lanes that have 2 each.
  METVOX_DEVICE void store(const Args<T>& a, const Output<T>& to, const Place& at, int plane) const {
    const int64_t slice = static_cast<int64_t>(at.n) * a.depth + plane;
#pragma unroll
    for (int p = 0; p < kPatches; ++p)
#pragma unroll
      for (int quad = 0; quad < kK / 16; ++quad) {
        // Word i of the patch: row i / (kK / 8) of the warp's two, columns 8 (i % (kK / 8)) and on.
        constexpr int kGroups = kK / 8;
        const int mine = quad * 4 + lane % 4;
        const int h = at.h + row + 2 * warp + mine / kGroups, w = at.w + p * kPatch + lane / 4;
        const bool inside = h < a.height && w < a.width;
        T* const voxel = to.data + ((slice * a.height + h) * a.width + w) * to.channels + mine % kGroups * 8;
        uint32_t old[4] = {}, word[4];
        if (!kMoments && to.grad == Grad::accumulate) {
          if (inside) {
            const uint4 v = load16(voxel);
            old[0] = v.x, old[1] = v.y, old[2] = v.z, old[3] = v.w;
          }
          transpose_quad(old, lane);
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int word_at = quad * 4 + i;
          const float* const s = sum[p] + 2 * kThird + word_at % kGroups * 4 + word_at / kGroups * 2;
          const float2 before = unpack<T>(old[i]);
          word[i] = pack<T>(s[0] + before.x, s[1] + before.y);
        }
        transpose_quad(word, lane);
        if (inside) store16(voxel, make_uint4(word[0], word[1], word[2], word[3]));
      }
  }

  // The complete plane's moments, where they are stored without being added to; merged and written behind the last of
  // the block or of kMomentPlanes. Of a thread's voxels the first is inside if any is.
  METVOX_DEVICE void gather(const Args<T>& a, const Place& at, int plane) {
    const int h = at.h + row + 2 * warp, w = at.w + lane / 4;
    const bool begins = plane % kMomentPlanes == 0;
    int voxels = 0;
#pragma unroll
    for (int p = 0; p < kPatches; ++p)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        if (h + r >= a.height || w + p * kPatch >= a.width) continue;
        ++voxels;
#pragma unroll
        for (int g = 0; g < kK / 8; ++g) {
          const float* const s = sum[p] + 2 * kThird + g * 4 + r * 2;
          const uint32_t word = pack<T>(s[0], s[1]);
          if (begins && p == 0 && r == 0) origin[g] = word, distances[2 * g] = {}, distances[2 * g + 1] = {};
          const float2 stored = unpack<T>(word), from = unpack<T>(origin[g]);
          distances[2 * g].add(stored.x - from.x), distances[2 * g + 1].add(stored.y - from.y);
        }
      }
    if (plane + 1 < at.last && (plane + 1) % kMomentPlanes != 0) return;
    const int tile = plane / kMomentPlanes * a.tiles + at.h / kTile * a.tiles_w + at.w / kTile;
    int64_t index = static_cast<int64_t>(at.n * a.to_c[0] + at.k_tile * kK + lane % 4 * 2) * a.moment_chunks +
                    tile * kMomentWarps + row / kPatch * 4 + warp;
#pragma unroll
    for (int c = 0; c < kThird / 2; ++c) {
      const float2 from = unpack<T>(origin[c / 2]);
      const int count = voxels * (plane % kMomentPlanes + 1);
      const float4 all = merged_lanes(distances[c].moments(c % 2 ? from.y : from.x, count), 4);
      if (lane < 4) store16(a.moments + index, bits_as<uint4>(all));
      index += (c % 2 ? 7 : 1) * a.moment_chunks;
    }
  }
};

#endif

// kMoments: they are wanted, and the output is overwritten. Kernels of their own, since ptxas has no registers left.
template <class T, int kChunk, int kK, bool kMoments>
__global__ void __launch_bounds__(kThreads, 1)
    march(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap x2,
          const __grid_constant__ TensorMap weights, const __grid_constant__ Args<T> a) {
#if METVOX_HOPPER
  METVOX_SHARED_DYN_1024(unsigned char, shared);
  METVOX_SHARED(uint64_t, barriers, [2 * kStages + 1]);
  const Place at(a);
  const Output<T> to(a, at.k_tile * kK);
  if (!kMoments && to.grad == Grad::ignore) return;
  const int t = static_cast<int>(threadIdx.x), chunks = a.chunks[0] + a.chunks[1];
  const int weight_boxes = a.channels / 16 * (kK / 16);
  const Shared s{shared, shared + weight_boxes * kWeightBox, barriers, barriers + kStages, barriers + 2 * kStages};
  if (t == 0) {
    for (int i = 0; i < kStages; ++i) {
      mbarrier_init(&s.full[i], 1);
      mbarrier_init(&s.empty[i], kConsumers * 4);
    }
    mbarrier_init(s.weights_full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (t >= kConsumers * 128) {
    fewer_registers<24>();
    if (t == kConsumers * 128) produce<T, kChunk>(x, x2, weights, a, at, s, weight_boxes);
    return;
  }
  more_registers<240>();
  Consumer<T, kChunk, kK, kMoments> consumer(t, a.bias + at.k_tile * kK);
  mbarrier_wait(s.weights_full, 0);
  int step = 0;
  for (int plane = at.first - 1; plane <= at.last; ++plane) {
    if (plane >= 0 && plane < a.depth)
      for (int chunk = 0; chunk < chunks; ++chunk, ++step) {
        const int stage = step % kStages;
        mbarrier_wait(&s.full[stage], step / kStages & 1);
        consumer.add(s.planes + stage * (kHaloBytes * kChunk / 8),
                     s.weights + chunk * (kWeightBox * (kChunk / 16) * (kK / 16)));
        if (t % 32 == 0) mbarrier_arrive(&s.empty[stage]);
      }
    if (plane > at.first) {
      consumer.store(a, to, at, plane - 1);
      if constexpr (kMoments) consumer.gather(a, at, plane - 1);
    }
    consumer.advance();
  }
#endif
}

// ---- weights ----

template <class T>
struct PackArgs {
  const float *w, *b;
  T* packed;
  float* bias;
  int columns, channels, chunk, k;  // as kChunk and kK
  int64_t w_column, w_channel;      // steps in w, in elements; that of a tap is 1
  bool flipped;
  int64_t pieces;
};

// A thread for each 8 channels, in the order of memory: [tile of columns][chunk][kh kw][group of channels][kd][column].
// The bias follows, zeros if there is none.
template <class T>
__global__ void __launch_bounds__(256) pack_weights(const __grid_constant__ PackArgs<T> a) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (i < a.columns) a.bias[i] = a.b ? a.b[i] : 0;
  if (i >= a.pieces) return;
  int64_t rest = i;
  const auto digit = [&](int base) {
    const int d = static_cast<int>(rest % base);
    rest /= base;
    return d;
  };
  const int in_tile = digit(a.k), kd = digit(3), group = digit(a.chunk / 8), tap = digit(kTaps);
  const int chunk = digit(a.channels / a.chunk), column = static_cast<int>(rest) * a.k + in_tile;
  const int in_w = a.flipped ? 26 - (kd * kTaps + tap) : kd * kTaps + tap;
  const float* w = a.w + column * a.w_column + (chunk * a.chunk + group * 8) * a.w_channel + in_w;
  float v[8];
#pragma unroll
  for (int j = 0; j < 8; ++j) v[j] = w[j * a.w_channel];
  Pack<T, 8> pack;
  pack.set(v);
  pack.store(a.packed + i * 8);
}

// ---- the host's side ----

int chunk_of(const PlanePass& p) { return p.from_c[0] % 32 == 0 && p.from_c[1] % 32 == 0 ? 32 : 16; }
int columns_of_tile(const PlanePass& p) {
  return p.to_c[0] % 32 == 0 && p.to_c[1] % 32 == 0 && p.channels() <= 64 ? 32 : 16;
}

// Streaming multiprocessors; of the simulated device those of an H100.
int64_t processors_of([[maybe_unused]] Device device) {
  int processors = 132;
#if defined(__CUDACC__)
  check_cuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device.index), "processors_of");
#endif
  return processors;
}

// Planes of a block, a multiple of kMomentPlanes: enough blocks for the processors, each of which reads two planes more
// than it writes.
int64_t segment_of(int64_t columns, int64_t depth, int64_t processors) {
  const int64_t parts = divided_up(depth, kMomentPlanes);
  int64_t best = depth, least = 0;
  for (int64_t segments = 1; segments <= parts; ++segments) {
    const int64_t planes = divided_up(parts, segments) * kMomentPlanes;
    const int64_t cost = divided_up(columns * divided_up(depth, planes), processors) * (std::min(planes, depth) + 2);
    if (!least || cost < least) least = cost, best = planes;
  }
  return best;
}

TensorMap weights_of(const PlanePass& p, const void* packed, size_t bytes) {
  constexpr uint64_t kBytes = kWeightRow * 2;
  void* const base = const_cast<void*>(packed);
  return make_tensor_map(
      {p.dtype, base, 2, {kWeightRow, bytes / kBytes}, {0, kBytes}, {kWeightRow, kWeightRows}, false});
}

}  // namespace

const float* PlaneMarch::bias_in(const void* packed) const {
  return reinterpret_cast<const float*>(static_cast<const char*>(packed) + weight_bytes());
}

size_t PlaneMarch::packed_bytes() const { return weight_bytes() + static_cast<size_t>(p_.columns()) * sizeof(float); }

void PlaneMarch::pack(Stream& stream, const float* w, const float* b, void* packed) const {
  dispatch_half(p_.dtype, [&]<class T>() {
    PackArgs<T> a{};
    a.w = w, a.b = b, a.packed = static_cast<T*>(packed), a.bias = const_cast<float*>(bias_in(packed));
    a.columns = static_cast<int>(p_.columns()), a.channels = static_cast<int>(p_.channels());
    a.chunk = chunk_of(p_), a.k = columns_of_tile(p_);
    a.w_column = p_.w_column, a.w_channel = p_.w_channel, a.flipped = p_.flipped;
    a.pieces = static_cast<int64_t>(weight_bytes() / 16);
    launch(pack_weights<T>, dim3(static_cast<unsigned>(divided_up(a.pieces, 256))), dim3(256), 0, stream, a);
  });
}

int64_t PlaneMarch::moment_chunks() const {
  return divided_up(p_.extent[1], kTile) * divided_up(p_.extent[2], kTile) * divided_up(p_.extent[0], kMomentPlanes) *
         kMomentWarps;
}

template <class T>
void PlaneMarch::run_as(Stream& stream, const PlaneSources& from, const void* packed, const PlaneOutput& to) const {
  const int chunk = chunk_of(p_), columns = columns_of_tile(p_);
  Args<T> a{};
  a.depth = static_cast<int>(p_.extent[0]), a.height = static_cast<int>(p_.extent[1]);
  a.width = static_cast<int>(p_.extent[2]), a.channels = static_cast<int>(p_.channels());
  for (int i = 0; i < 2; ++i) {
    a.chunks[i] = static_cast<int>(p_.from_c[i]) / chunk;
    a.to_c[i] = static_cast<int>(p_.to_c[i]);
    a.to[i] = static_cast<T*>(to.y[i].data), a.grad[i] = to.grad[i];
  }
  a.tiles_w = static_cast<int>(divided_up(p_.extent[2], kTile)), a.tiles_k = static_cast<int>(p_.columns()) / columns;
  a.tiles = static_cast<int>(divided_up(p_.extent[1], kTile)) * a.tiles_w;
  const int64_t blocks = int64_t{a.tiles} * a.tiles_k;
  a.segment = static_cast<int>(segment_of(blocks * p_.n, p_.extent[0], processors_of(stream.device())));
  a.bias = bias_in(packed);
  a.moments = static_cast<float4*>(to.moments.data), a.moment_chunks = static_cast<int>(moment_chunks());
  const TensorMap x = plane_map(from.x[0], kHalo, chunk), x2 = p_.from_c[1] ? plane_map(from.x[1], kHalo, chunk) : x;
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(divided_up(p_.extent[0], a.segment)),
                  static_cast<unsigned>(p_.n));
  dispatch_16_32(chunk, columns, [&]<int kChunk, int kK>() {
    constexpr int kBox = kWeightBox * (kK / 16), kStage = kHaloBytes * kChunk / 8;
    const auto bytes = static_cast<size_t>(a.channels / 16 * kBox + kStages * kStage);
    launch(a.moments ? march<T, kChunk, kK, true> : march<T, kChunk, kK, false>, grid, dim3(kThreads), bytes, stream, x,
           x2, weights_of(p_, packed, weight_bytes()), a);
  });
}

void PlaneMarch::run(Stream& stream, const PlaneSources& from, const void* packed, const PlaneOutput& to) const {
  dispatch_half(p_.dtype, [&]<class T>() { run_as<T>(stream, from, packed, to); });
}

}  // namespace metvox::METVOX_KERNEL_NS
