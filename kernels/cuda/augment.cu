// SPDX-License-Identifier: Apache-2.0
// Augmentation on the GPU: values that change, a thread a voxel: neighbours in a row are neighbours in a warp.
// Statistics of a channel stay on the device: blocks leave their sums in scratch, and every block of the kernel that
// needs them adds them up again, in the same order. Not yet run on hardware.
#include "kernels/cuda/augment.h"

#include "kernels/augment_bodies.h"
#include "kernels/cuda/augment_box.h"
#include "kernels/cuda/for_each.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

// A thread a Philox block of a channel's field: four voxels, kNoiseRun apart.
struct NoiseBody {
  float* image;
  int64_t blocks, voxels;  // of a channel
  float sigma;
  uint64_t key;

  METVOX_HD void operator()(int64_t i) const {
    const int64_t c = i / blocks, block = i - c * blocks;
    uint32_t word[4];
    noise_words(static_cast<uint64_t>(block), key + static_cast<uint64_t>(c), word);
    float noise[4];
    two_normals(word[0], word[1], sigma, &noise[0], &noise[1]);
    two_normals(word[2], word[3], sigma, &noise[2], &noise[3]);
    const int64_t first = block / kNoiseRun * 4 * kNoiseRun + block % kNoiseRun;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int64_t at = first + j * kNoiseRun;
      if (at < voxels) image[c * voxels + at] += noise[j];
    }
  }
};

struct BlurBody {
  const float* x;
  float* y;
  int64_t extent, step;  // of the axis; the distance of its neighbours in memory
  int32_t half;
  bool symmetric;
  float tap[kMostTaps / 2 + 1];  // by distance

  METVOX_HD void operator()(int64_t i) const {
    const int64_t at = i / step % extent, base = i - at * step;
    float sum = tap[0] * x[i];
#pragma unroll  // lest the taps leave constant memory
    for (int32_t t = 1; t <= static_cast<int32_t>(kMostTaps / 2); ++t)
      if (t <= half)
        sum += tap[t] * (x[base + beyond(at - t, extent, symmetric) * step] +
                         x[base + beyond(at + t, extent, symmetric) * step]);
    y[i] = sum;
  }
};

struct ScaleBody {
  float* x;
  float factor;
  METVOX_HD void operator()(int64_t i) const { x[i] *= factor; }
};

struct LowerResolutionBody {
  const float* from;
  float* to;
  Box box;
  AxisZoom zoom[3];

  METVOX_HD void operator()(int64_t i) const {
    int32_t p[3], at[3][2];
    box.place(i, p[0], p[1], p[2]);
    float weight[3];
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      const AxisZoom::Place place = zoom_place(zoom[a], p[a]);
      at[a][0] = zoom_source(zoom[a], place.at);
      at[a][1] = zoom_source(zoom[a], place.at + place.next);
      weight[a] = place.weight;
    }
    float of_z[2];
#pragma unroll
    for (int z = 0; z < 2; ++z) {
      float of_y[2];
#pragma unroll
      for (int y = 0; y < 2; ++y)
        of_y[y] = blend(from[box.index(at[0][z], at[1][y], at[2][0])], from[box.index(at[0][z], at[1][y], at[2][1])],
                        weight[2]);
      of_z[z] = blend(of_y[0], of_y[1], weight[1]);
    }
    to[i] = blend(of_z[0], of_z[1], weight[0]);
  }
  METVOX_HD static float blend(float a, float b, float weight) { return a + weight * (b - a); }
};

struct TakeNearestBody {
  const float* from;
  float* to;
  Box box, small;
  AxisZoom zoom[3];
  METVOX_HD void operator()(int64_t i) const {
    int32_t p[3];
    small.place(i, p[0], p[1], p[2]);
    to[i] = from[box.index(zoom_source(zoom[0], p[0]), zoom_source(zoom[1], p[1]), zoom_source(zoom[2], p[2]))];
  }
};

struct MaskBody {
  const int8_t* labels;
  float* x;
  METVOX_HD void operator()(int64_t i) const {
    if (labels[i] < 0) x[i] = 0;
  }
};

struct StoreBody {
  Sample from;
  int64_t channels, voxels;
  float* images;
  uint8_t* targets;
  METVOX_HD void operator()(int64_t i) const {
    for (int64_t c = 0; c < channels; ++c) images[i * channels + c] = from.image[c * voxels + i];
    targets[i] = from.labels[i] > 0 ? static_cast<uint8_t>(from.labels[i]) : uint8_t{0};
  }
};

// ---- statistics of a channel ----

struct Sums {
  double sum, squares;
  float low, high;
};
static_assert(2 * kAugmentBlocks * sizeof(Sums) == kAugmentSums * sizeof(float));

METVOX_DEVICE Sums no_sums() { return {0, 0, INFINITY, -INFINITY}; }
METVOX_DEVICE void add(Sums& s, float v) {
  s.sum += v;
  s.squares += static_cast<double>(v) * v;
  s.low = fminf(s.low, v);
  s.high = fmaxf(s.high, v);
}
METVOX_DEVICE void join(Sums& s, const Sums& other) {
  s.sum += other.sum;
  s.squares += other.squares;
  s.low = fminf(s.low, other.low);
  s.high = fmaxf(s.high, other.high);
}

// Of all threads of the block, to all of them.
METVOX_DEVICE Sums of_block(Sums s) {
  METVOX_SHARED(Sums, of_warp, [kEachThreads / 32]);
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2)
    join(s, {__shfl_xor_sync(~0u, s.sum, bits), __shfl_xor_sync(~0u, s.squares, bits),
             __shfl_xor_sync(~0u, s.low, bits), __shfl_xor_sync(~0u, s.high, bits)});
  __syncthreads();  // the last call's have been read
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = s;
  __syncthreads();
  s = of_warp[0];
  for (int w = 1; w < kEachThreads / 32; ++w) join(s, of_warp[w]);
  return s;
}

// 1 / n and 1 / (n - 1), which the host divides: a GPU's double division is a call that spills.
struct Share {
  double voxel, freedom;
};
Share share_of(int64_t n) { return {1 / static_cast<double>(n), 1 / static_cast<double>(std::max<int64_t>(n - 1, 1))}; }

// Of the voxels of which each block of a grid like this one left its sums.
METVOX_DEVICE ChannelStatistics of_blocks(const Sums* sums, Share share) {
  static_assert(kAugmentBlocks <= kEachThreads);
  const Sums s = of_block(threadIdx.x < gridDim.x ? sums[threadIdx.x] : no_sums());
  const double mean = s.sum * share.voxel;
  const float variance = static_cast<float>((s.squares - s.sum * mean) * share.freedom);
  return {static_cast<float>(mean), sqrtf(fmaxf(variance, 0.f)), s.low, s.high};
}

METVOX_DEVICE void leave(Sums s, Sums* sums) {
  s = of_block(s);
  if (threadIdx.x == 0) sums[blockIdx.x] = s;
}

// Of sign * x.
__global__ void __launch_bounds__(kEachThreads) measure(int64_t n, const float* x, float sign, Sums* sums) {
  Sums s = no_sums();
  for (int64_t i = each_first(); i < n; i += each_step()) add(s, sign * x[i]);
  leave(s, sums);
}

__global__ void __launch_bounds__(kEachThreads)
    stretch_contrast(int64_t n, Share share, float* x, float factor, const Sums* sums) {
  const ChannelStatistics s = of_blocks(sums, share);
  const float shift = s.mean * (1 - factor);
  for (int64_t i = each_first(); i < n; i += each_step()) x[i] = fminf(fmaxf(x[i] * factor + shift, s.min), s.max);
}

__global__ void __launch_bounds__(kEachThreads)
    to_power(int64_t n, Share share, float* x, float sign, float exponent, const Sums* before, Sums* after) {
  const ChannelStatistics s = of_blocks(before, share);
  const float inverse_range = 1 / gamma_range(s);
  Sums sums = no_sums();
  for (int64_t i = each_first(); i < n; i += each_step()) {
    const float y = power_of((sign * x[i] - s.min) * inverse_range, exponent);
    x[i] = y;
    add(sums, y);
  }
  leave(sums, after);
}

__global__ void __launch_bounds__(kEachThreads)
    from_power(int64_t n, Share share, float* x, bool inverted, const Sums* before, const Sums* after) {
  const ChannelStatistics old = of_blocks(before, share), now = of_blocks(after, share);
  const GammaReturn back = gamma_return(old, now, inverted);
  for (int64_t i = each_first(); i < n; i += each_step()) x[i] = x[i] * back.factor + back.shift;
}

// A grid whose blocks' sums fit.
dim3 summing_grid(int64_t n) { return {std::min(each_grid(n).x, unsigned{kAugmentBlocks})}; }

// The scratch as a volume of x's shape, or as sums.
View like(const View& x, const View& scratch) { return {scratch.data, x.shape, x.dtype, scratch.device}; }
Sums* sums_in(const View& scratch) { return static_cast<Sums*>(scratch.data); }

}  // namespace

void add_noise(Stream& stream, View image, float sigma, uint64_t key) {
  const int64_t voxels = int64_t{box_of(image).voxels()}, runs = (voxels + 4 * kNoiseRun - 1) / (4 * kNoiseRun);
  for_each(stream, image.shape[0] * runs * kNoiseRun,
           NoiseBody{image.as<float>(), runs * kNoiseRun, voxels, sigma, key});
}

void blur_axis(Stream& stream, View x, int axis, const std::vector<float>& taps, Edge edge, View scratch) {
  const View y = like(x, scratch);
  int64_t step = 1;
  for (int a = 2; a > axis; --a) step *= x.shape[a];
  BlurBody body{x.as<float>(),
                y.as<float>(),
                x.shape[axis],
                step,
                static_cast<int32_t>(taps.size() / 2),
                edge == Edge::symmetric,
                {}};
  for (int32_t t = 0; t <= body.half; ++t) body.tap[t] = taps[static_cast<size_t>(body.half - t)];
  for_each(stream, x.size(), body);
  transfer(stream, y, x);
}

void scale(Stream& stream, View x, float factor) { for_each(stream, x.size(), ScaleBody{x.as<float>(), factor}); }

void scale_contrast(Stream& stream, View x, float factor, View scratch) {
  const int64_t n = x.size();
  const dim3 grid = summing_grid(n), threads(kEachThreads);
  Sums* sums = sums_in(scratch);
  launch(measure, grid, threads, 0, stream, n, x.as<float>(), 1.f, sums);
  launch(stretch_contrast, grid, threads, 0, stream, n, share_of(n), x.as<float>(), factor, sums);
}

void apply_gamma(Stream& stream, View x, float exponent, bool inverted, View scratch) {
  const int64_t n = x.size();
  const dim3 grid = summing_grid(n), threads(kEachThreads);
  const float sign = inverted ? -1.f : 1.f;
  Sums *before = sums_in(scratch), *after = before + kAugmentBlocks;
  launch(measure, grid, threads, 0, stream, n, x.as<float>(), sign, before);
  launch(to_power, grid, threads, 0, stream, n, share_of(n), x.as<float>(), sign, exponent, before, after);
  launch(from_power, grid, threads, 0, stream, n, share_of(n), x.as<float>(), inverted, before, after);
}

void lower_resolution(Stream& stream, View x, const Int3& small, View scratch) {
  const View whole = like(x, scratch);
  transfer(stream, x, whole);
  const auto zoom = [&](size_t a) { return axis_zoom(x.shape[static_cast<int>(a)], small[a]); };
  for_each(stream, x.size(),
           LowerResolutionBody{whole.as<float>(), x.as<float>(), box_of(x), {zoom(0), zoom(1), zoom(2)}});
}

void take_nearest(Stream& stream, View x, View small) {
  const auto zoom = [&](int a) { return axis_zoom(x.shape[a], small.shape[a]); };
  for_each(stream, small.size(),
           TakeNearestBody{x.as<float>(), small.as<float>(), box_of(x), box_of(small), {zoom(0), zoom(1), zoom(2)}});
}

void mask_outside(Stream& stream, View labels, View x) {
  for_each(stream, x.size(), MaskBody{labels.as<int8_t>(), x.as<float>()});
}

void store_sample(Stream& stream, View image, View labels, View images, View targets) {
  for_each(
      stream, labels.size(),
      StoreBody{sample_of(image, labels), image.shape[0], labels.size(), images.as<float>(), targets.as<uint8_t>()});
}

}  // namespace metvox::METVOX_KERNEL_NS
