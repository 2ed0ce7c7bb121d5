// SPDX-License-Identifier: Apache-2.0
// Augmentation on the GPU, a thread a voxel: neighbours in a row are neighbours in a warp. Statistics of a channel stay
// on the device: blocks leave their sums in scratch, and every block of the kernel that needs them adds them up again,
// in the same order. Not yet run on hardware.
#include "kernels/cuda/augment.h"

#include "kernels/augment_bodies.h"
#include "kernels/cuda/for_each.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

// ---- voxels that move ----

// Extents of a volume (z, y, x) of fewer than 2^31 voxels, whose indices a GPU divides faster than those of 64 bits.
struct Box {
  int32_t extent[3];

  METVOX_HD int32_t voxels() const { return extent[0] * extent[1] * extent[2]; }
  METVOX_HD int32_t index(int32_t z, int32_t y, int32_t x) const { return (z * extent[1] + y) * extent[2] + x; }
  METVOX_HD void place(int64_t i, int32_t& z, int32_t& y, int32_t& x) const {
    const int32_t at = static_cast<int32_t>(i), row = at / extent[2];
    x = at - row * extent[2];
    z = row / extent[1];
    y = row - z * extent[1];
  }
};

Box box_of(const View& v) {
  const int last = v.shape.rank() - 1;
  return {static_cast<int32_t>(v.shape[last - 2]), static_cast<int32_t>(v.shape[last - 1]),
          static_cast<int32_t>(v.shape[last])};
}

struct Sample {
  const float* image;
  const int8_t* labels;
  Box box;
};
Sample sample_of(const View& image, const View& labels) {
  return {image.as<float>(), labels.as<int8_t>(), box_of(labels)};
}

struct SampleAffineBody {
  Sample from;
  int32_t channels;
  double origin[3], along_z[3], along_y[3];
  float along_x[3];
  int32_t low[3], high[3];  // the window
  Box box;                  // the result's
  float* out;
  int8_t* out_labels;

  METVOX_HD void operator()(int64_t i) const {
    int32_t place[3], corner[3];
    float fraction[3];
    box.place(i, place[0], place[1], place[2]);
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      const float start = static_cast<float>(origin[a] + along_z[a] * place[0] + along_y[a] * place[1]);
      const float at = start + static_cast<float>(place[2]) * along_x[a];
      const float down = floorf(at);
      corner[a] = static_cast<int32_t>(down);
      fraction[a] = at - down;
    }
    float weight[8];
    corner_weights(fraction[0], fraction[1], fraction[2], weight);
    int32_t index[8];  // -1 outside
    int label[8];
    bool same = true;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      read_corner(corner[0] + (j >> 2 & 1), corner[1] + (j >> 1 & 1), corner[2] + (j & 1), index[j], label[j]);
      same = same && label[j] == label[0];
    }
    out_labels[i] = !same ? vote(label, weight) : label[0] == kNoLabel ? int8_t{-1} : static_cast<int8_t>(label[0]);
    for (int32_t c = 0; c < channels; ++c) {
      const float* channel = from.image + int64_t{c} * from.box.voxels();
      float sum = 0;
#pragma unroll
      for (int j = 0; j < 8; ++j)
        if (index[j] >= 0) sum += weight[j] * channel[index[j]];
      out[int64_t{c} * box.voxels() + i] = sum;
    }
  }

  METVOX_HD void read_corner(int32_t z, int32_t y, int32_t x, int32_t& index, int& label) const {
    const int32_t p[3] = {z, y, x};
    bool in_window = true, in_source = true;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      in_window = in_window && p[a] >= low[a] && p[a] < high[a];
      in_source = in_source && p[a] >= 0 && p[a] < from.box.extent[a];
    }
    index = in_window && in_source ? from.box.index(z, y, x) : -1;
    label = !in_window ? kNoLabel : in_source ? from.labels[index] : -1;
  }
};

struct CopyBoxBody {
  Sample from;
  int32_t channels, first[3];
  Box box;
  float* out;
  int8_t* out_labels;

  METVOX_HD void operator()(int64_t i) const {
    int32_t p[3];
    box.place(i, p[0], p[1], p[2]);
    bool inside = true;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      p[a] += first[a];
      inside = inside && p[a] >= 0 && p[a] < from.box.extent[a];
    }
    const int32_t at = inside ? from.box.index(p[0], p[1], p[2]) : 0;
    out_labels[i] = inside ? from.labels[at] : int8_t{-1};
    for (int32_t c = 0; c < channels; ++c)
      out[int64_t{c} * box.voxels() + i] = inside ? from.image[int64_t{c} * from.box.voxels() + at] : 0.f;
  }
};

template <class T>
struct MirrorBody {
  T* x;
  Box box;
  bool flip[3];

  METVOX_HD void operator()(int64_t i) const {
    int32_t p[3];
    box.place(i, p[0], p[1], p[2]);
#pragma unroll
    for (int a = 0; a < 3; ++a)
      if (flip[a]) p[a] = box.extent[a] - 1 - p[a];
    const int32_t other = box.index(p[0], p[1], p[2]);
    if (i >= other) return;  // the pair is the other's, or its own mirror image
    const T kept = x[i];
    x[i] = x[other];
    x[other] = kept;
  }
};

// ---- values that change ----

// A thread a Philox block: four voxels, kNoiseRun apart.
struct NoiseBody {
  float* image;
  int64_t channels, voxels;
  float sigma;
  uint64_t key;

  METVOX_HD void operator()(int64_t block) const {
    uint32_t word[4];
    noise_words(static_cast<uint64_t>(block), key, word);
    float noise[4];
    two_normals(word[0], word[1], sigma, &noise[0], &noise[1]);
    two_normals(word[2], word[3], sigma, &noise[2], &noise[3]);
    const int64_t first = block / kNoiseRun * 4 * kNoiseRun + block % kNoiseRun;
    for (int64_t c = 0; c < channels; ++c) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int64_t i = first + j * kNoiseRun;
        if (i < voxels) image[c * voxels + i] += noise[j];
      }
    }
  }
};

struct BlurBody {
  const float* x;
  float* y;
  int64_t extent, step;  // of the axis; the distance of its neighbours in memory
  int32_t half;
  float tap[kMostTaps / 2 + 1];  // by distance

  METVOX_HD void operator()(int64_t i) const {
    const int64_t at = i / step % extent, base = i - at * step;
    float sum = tap[0] * x[i];
#pragma unroll  // lest the taps leave constant memory
    for (int32_t t = 1; t <= static_cast<int32_t>(kMostTaps / 2); ++t)
      if (t <= half)
        sum += tap[t] * (x[base + reflect(at - t, extent) * step] + x[base + reflect(at + t, extent) * step]);
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

void sample_affine(Stream& stream, View image, View labels, const AffineSampling& s, View out, View out_labels) {
  SampleAffineBody body{};
  body.from = sample_of(image, labels);
  body.channels = static_cast<int32_t>(image.shape[0]);
  for (size_t a = 0; a < 3; ++a) {
    body.origin[a] = s.origin[a];
    body.along_z[a] = s.matrix[a][0];
    body.along_y[a] = s.matrix[a][1];
    body.along_x[a] = static_cast<float>(s.matrix[a][2]);
    body.low[a] = static_cast<int32_t>(s.low[a]);
    body.high[a] = static_cast<int32_t>(s.high[a]);
  }
  body.box = box_of(out_labels);
  body.out = out.as<float>();
  body.out_labels = out_labels.as<int8_t>();
  for_each(stream, out_labels.size(), body);
}

void copy_box(Stream& stream, View image, View labels, const Int3& first, View out, View out_labels) {
  CopyBoxBody body{
      sample_of(image, labels), static_cast<int32_t>(image.shape[0]), {}, box_of(out_labels), out.as<float>(),
      out_labels.as<int8_t>()};
  for (size_t a = 0; a < 3; ++a) body.first[a] = static_cast<int32_t>(first[a]);
  for_each(stream, out_labels.size(), body);
}

void add_noise(Stream& stream, View image, float sigma, uint64_t key) {
  const int64_t voxels = int64_t{box_of(image).voxels()}, runs = (voxels + 4 * kNoiseRun - 1) / (4 * kNoiseRun);
  for_each(stream, runs * kNoiseRun, NoiseBody{image.as<float>(), image.shape[0], voxels, sigma, key});
}

void blur_axis(Stream& stream, View x, int axis, const std::vector<float>& taps, View scratch) {
  const View y = like(x, scratch);
  int64_t step = 1;
  for (int a = 2; a > axis; --a) step *= x.shape[a];
  BlurBody body{x.as<float>(), y.as<float>(), x.shape[axis], step, static_cast<int32_t>(taps.size() / 2), {}};
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

void mirror(Stream& stream, View x, const std::array<bool, 3>& axes) {
  const auto run = [&]<class T>(T* data) {
    for_each(stream, x.size(), MirrorBody<T>{data, box_of(x), {axes[0], axes[1], axes[2]}});
  };
  if (x.dtype == DType::i8) run(x.as<int8_t>());
  else run(x.as<float>());
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
