// SPDX-License-Identifier: Apache-2.0
// norm_act on the GPU, two passes each way. Statistics: each block sums a chunk of voxels and a tile of channels into
// scratch, a small kernel merges the chunks in order (no atomics: the same bits each time), and a pass over the output
// applies them. Where whatever wrote x gives its moments, chunks of its own making are merged and the first pass falls
// away. Passes that follow another go backwards, over what the L2 cache still holds.
// Mean and deviation are sums of distances from the chunk's first voxel, merged from small batches about their own
// means (Chan et al. 1979), so that a far mean costs nothing. Not yet run on hardware.
#include <algorithm>
#include <bit>

#include "kernels/convert.h"
#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/channel_tiles.h"
#include "kernels/norm_act_engines.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

constexpr int kBatch = 4;  // accesses under way in each thread

// Of V channels: mean, and sum of squared deviations from it, of `count` numbers.
template <int V>
struct Moments {
  float count = 0, mean[V] = {}, square[V] = {};

  METVOX_DEVICE void merge(int k, float share, float other_mean, float other_square) {
    const float apart = other_mean - mean[k];
    mean[k] += apart * share;
    square[k] += other_square + apart * apart * count * share;
  }
  template <class T, int B>
  METVOX_DEVICE void add(const Pack<T, V> (&batch)[B], const float (&origin)[V]) {
    const float share = B / (count + B);
#pragma unroll
    for (int k = 0; k < V; ++k) {
      float v[B], sum = 0, squares = 0;
#pragma unroll
      for (int b = 0; b < B; ++b) v[b] = batch[b].get(k) - origin[k], sum += v[b];
      const float middle = sum * (1.0f / B);
#pragma unroll
      for (int b = 0; b < B; ++b) squares += (v[b] - middle) * (v[b] - middle);
      merge(k, share, middle, squares);
    }
    count += B;
  }
};

// partial (samples, C, chunks): where distances are taken from, their mean, squares, count.
template <class T, int V>
__global__ void __launch_bounds__(kTileThreads) norm_moments(const T* x, Tiling t, float4* partial) {
  METVOX_SHARED(float, means, [V][kTileThreads]);
  METVOX_SHARED(float, squares, [V][kTileThreads]);
  METVOX_SHARED(float, counts, [kTileThreads]);
  const Place<V> at(t);
  const int self = static_cast<int>(threadIdx.x);
  Moments<V> m;
  float origin[V] = {};
  if (at.active) {
    Pack<T, V> first;
    first.load(x + at.offset(t, at.first));
    first.get(origin);
    each_batch<kBatch>(t, at, [&](auto accesses, int64_t offset, int64_t step) {
      Pack<T, V> batch[accesses.value];
#pragma unroll
      for (int b = 0; b < accesses.value; ++b) batch[b].load(x + offset + b * step);
      m.add(batch, origin);
    });
  }
  fold(
      at.row, t.rows,
      [&] {
        counts[self] = m.count;
#pragma unroll
        for (int k = 0; k < V; ++k) means[k][self] = m.mean[k], squares[k][self] = m.square[k];
      },
      [&](int rows) {
        const int other = self + rows * t.columns;
        const float more = counts[other], share = more > 0 ? more / (m.count + more) : 0;
#pragma unroll
        for (int k = 0; k < V; ++k) m.merge(k, share, means[k][other], squares[k][other]);
        m.count += more;
      });
  if (at.row == 0 && at.active)
#pragma unroll
    for (int k = 0; k < V; ++k) partial[at.partial(t, k)] = make_float4(origin[k], m.mean[k], m.square[k], m.count);
}

// Chunks' moments (kernels/moments.h) to `saved`; what a float of the mean lacks goes to mean_rest (samples, C). A
// block for each group of channels (x) and sample (y).
__global__ void __launch_bounds__(kTileThreads)
    norm_statistics(const float4* partial, int c, int group, int chunks, double eps, float* saved, float* mean_rest) {
  METVOX_SHARED(double, moments, [3][kTileThreads]);
  const int self = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int64_t channel = static_cast<int64_t>(blockIdx.y) * c + static_cast<int64_t>(blockIdx.x) * group;
  double count = 0, mean = 0, square = 0;
  const auto merge = [&](double more, double other_mean, double other_square) {
    if (more == 0) return;
    const double apart = other_mean - mean, share = more / (count + more);
    mean += apart * share;
    square += other_square + apart * apart * count * share;
    count += more;
  };
  const float4* of_group = partial + channel * chunks;
#pragma unroll 4
  for (int i = self; i < group * chunks; i += threads) {
    const float4 p = of_group[i];
    merge(p.w, static_cast<double>(p.x) + p.y, p.z);
  }
  fold(
      self, threads, [&] { moments[0][self] = count, moments[1][self] = mean, moments[2][self] = square; },
      [&](int rows) { merge(moments[0][self + rows], moments[1][self + rows], moments[2][self + rows]); });
  if (self == 0) moments[0][0] = count, moments[1][0] = mean, moments[2][0] = square;
  __syncthreads();
  mean = moments[1][0];
  const float rounded = static_cast<float>(mean);
  const float rstd = static_cast<float>(1 / sqrt(moments[2][0] / moments[0][0] + eps));
  for (int k = self; k < group; k += threads) {
    saved[2 * (channel + k)] = rounded;
    saved[2 * (channel + k) + 1] = rstd;
    mean_rest[channel + k] = static_cast<float>(mean - rounded);
  }
}

// Of V channels, from rows of constants in shared memory: h = (x - center) scale + shift, and what follows it.
template <int V>
METVOX_DEVICE void read(const float (&row)[kMostTileChannels], int column, float (&v)[V]) {
#pragma unroll
  for (int k = 0; k < V; ++k) v[k] = row[column * V + k];
}
template <int V>
struct Activation {
  float center[V], scale[V], shift[V], slope;

  template <int kRows>
  METVOX_DEVICE Activation(const float (&constants)[kRows][kMostTileChannels], int column, float negative_slope)
      : slope(negative_slope) {
    read(constants[0], column, center), read(constants[1], column, scale), read(constants[2], column, shift);
  }
  METVOX_DEVICE float apart(int k, float x) const { return x - center[k]; }
  METVOX_DEVICE float y(int k, float apart_) const {
    const float h = apart_ * scale[k] + shift[k];
    return h > 0 ? h : slope * h;
  }
  METVOX_DEVICE float dh(int k, float apart_, float dy) const {
    return apart_ * scale[k] + shift[k] > 0 ? dy : slope * dy;
  }
};

template <class T, int V>
__global__ void __launch_bounds__(kTileThreads)
    norm_apply(const T* x, Tiling t, const float* gamma, const float* beta, const float* saved, const float* mean_rest,
               float slope, T* y) {
  METVOX_SHARED(float, constants, [3][kMostTileChannels]);
  const Place<V> at(t, true);
  each_tile_channel(t, at, [&](int k, int channel, int64_t i) {
    const float scale = gamma[channel] * saved[2 * i + 1];
    constants[0][k] = saved[2 * i];
    constants[1][k] = scale;
    constants[2][k] = beta[channel] - mean_rest[i] * scale;
  });
  if (!at.active) return;
  const Activation<V> act(constants, at.column, slope);
  each_batch<kBatch>(t, at, [&](auto accesses, int64_t offset, int64_t step) {
    Pack<T, V> batch[accesses.value];
#pragma unroll
    for (int b = 0; b < accesses.value; ++b) batch[b].load(x + offset + b * step);
#pragma unroll
    for (int b = 0; b < accesses.value; ++b) {
      float v[V];
      batch[b].get(v);
#pragma unroll
      for (int k = 0; k < V; ++k) v[k] = act.y(k, act.apart(k, v[k]));
      batch[b].set(v);
      batch[b].store(y + offset + b * step);
    }
  });
}

// partial (samples, C, chunks): sums of dh and of dh (x - mean).
template <class T, int V>
__global__ void __launch_bounds__(kTileThreads)
    norm_backward_sums(const T* x, const T* dy, Tiling t, const float* gamma, const float* beta, const float* saved,
                       float slope, float2* partial) {
  METVOX_SHARED(float, constants, [3][kMostTileChannels]);
  METVOX_SHARED(float, sums, [2][V][kTileThreads]);
  const Place<V> at(t);
  const int self = static_cast<int>(threadIdx.x);
  each_tile_channel(t, at, [&](int k, int channel, int64_t i) {
    constants[0][k] = saved[2 * i];
    constants[1][k] = gamma[channel] * saved[2 * i + 1];
    constants[2][k] = beta[channel];
  });
  float dh[V] = {}, dh_x[V] = {};
  if (at.active) {
    const Activation<V> act(constants, at.column, slope);
    each_batch<kBatch / 2>(t, at, [&](auto accesses, int64_t offset, int64_t step) {
      Pack<T, V> in[accesses.value], gradient[accesses.value];
#pragma unroll
      for (int b = 0; b < accesses.value; ++b)
        in[b].load(x + offset + b * step), gradient[b].load(dy + offset + b * step);
#pragma unroll
      for (int b = 0; b < accesses.value; ++b) {
        float v[V], g[V];
        in[b].get(v), gradient[b].get(g);
#pragma unroll
        for (int k = 0; k < V; ++k) {
          const float apart = act.apart(k, v[k]), d = act.dh(k, apart, g[k]);
          dh[k] += d;
          dh_x[k] += d * apart;
        }
      }
    });
  }
  fold(
      at.row, t.rows,
      [&] {
#pragma unroll
        for (int k = 0; k < V; ++k) sums[0][k][self] = dh[k], sums[1][k][self] = dh_x[k];
      },
      [&](int rows) {
        const int other = self + rows * t.columns;
#pragma unroll
        for (int k = 0; k < V; ++k) dh[k] += sums[0][k][other], dh_x[k] += sums[1][k][other];
      });
  if (at.row == 0 && at.active)
#pragma unroll
    for (int k = 0; k < V; ++k) partial[at.partial(t, k)] = make_float2(dh[k], dh_x[k]);
}

// Sums over a whole sample, or all of them: of dh, of dh x^.
struct Sums {
  double dh, dh_x;
};
constexpr int kFinishWarps = 8;

// Chunks' sums to dgamma and dbeta, and to the two factors (samples, C) of norm_backward_apply. A block for each group
// of channels, a warp for each of its channels in turn.
__global__ void __launch_bounds__(kFinishWarps * 32)
    norm_gradients(const float2* partial, int samples, int64_t voxels, int c, int group, int chunks, const float* gamma,
                   const float* saved, Sums* total, float2* factors, float* dgamma, float* dbeta, Grad parameters) {
  METVOX_SHARED(Sums, of_warp, [kFinishWarps]);
  const int warp = static_cast<int>(threadIdx.x) / 32, warps = static_cast<int>(blockDim.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32, channel0 = static_cast<int>(blockIdx.x) * group;
  for (int n = 0; n < samples; ++n) {
    const int64_t first = static_cast<int64_t>(n) * c + channel0;
    const double rstd = saved[2 * first + 1];
    Sums scaled{0, 0};
    for (int k = warp; k < group; k += warps) {
      const float2* of_channel = partial + (first + k) * chunks;
      Sums sum{0, 0};
      for (int i = lane; i < chunks; i += 32) sum.dh += of_channel[i].x, sum.dh_x += of_channel[i].y;
      sum = {warp_sum(sum.dh), warp_sum(sum.dh_x) * rstd};
      scaled.dh += gamma[channel0 + k] * sum.dh;
      scaled.dh_x += gamma[channel0 + k] * sum.dh_x;
      if (lane == 0) {
        Sums& all = total[channel0 + k];
        all = n == 0 ? sum : Sums{all.dh + sum.dh, all.dh_x + sum.dh_x};
      }
    }
    if (lane == 0) of_warp[warp] = scaled;
    __syncthreads();
    Sums mean{0, 0};
    for (int w = 0; w < warps; ++w) mean.dh += of_warp[w].dh, mean.dh_x += of_warp[w].dh_x;
    const double elements = static_cast<double>(voxels) * group;
    const auto factor = make_float2(static_cast<float>(-rstd * rstd * mean.dh_x / elements),
                                    static_cast<float>(-rstd * mean.dh / elements));
    for (int k = static_cast<int>(threadIdx.x); k < group; k += static_cast<int>(blockDim.x))
      factors[first + k] = factor;
    __syncthreads();
  }
  if (parameters == Grad::ignore || lane > 0) return;
  for (int k = channel0 + warp; k < channel0 + group; k += warps) {
    put(dgamma[k], total[k].dh_x, parameters);
    put(dbeta[k], total[k].dh, parameters);
  }
}

// dx = gamma rstd dh + factor.x (x - mean) + factor.y, which is rstd (gamma dh - mean(gamma dh) - x^ mean(gamma dh
// x^)).
template <class T, int V, bool kAdd>
__global__ void __launch_bounds__(kTileThreads)
    norm_backward_apply(const T* x, const T* dy, Tiling t, const float* gamma, const float* beta, const float* saved,
                        const float2* factors, float slope, T* dx) {
  METVOX_SHARED(float, constants, [5][kMostTileChannels]);
  const Place<V> at(t, true);
  each_tile_channel(t, at, [&](int k, int channel, int64_t i) {
    constants[0][k] = saved[2 * i];
    constants[1][k] = gamma[channel] * saved[2 * i + 1];
    constants[2][k] = beta[channel];
    constants[3][k] = factors[i].x;
    constants[4][k] = factors[i].y;
  });
  if (!at.active) return;
  const Activation<V> act(constants, at.column, slope);
  float factor[V], rest[V];
  read(constants[3], at.column, factor), read(constants[4], at.column, rest);
  each_batch<kBatch / 2>(t, at, [&](auto accesses, int64_t offset, int64_t step) {
    Pack<T, V> in[accesses.value], gradient[accesses.value];
    [[maybe_unused]] Pack<T, V> before[accesses.value];
#pragma unroll
    for (int b = 0; b < accesses.value; ++b) {
      in[b].load(x + offset + b * step), gradient[b].load(dy + offset + b * step);
      if constexpr (kAdd) before[b].load(dx + offset + b * step);
    }
#pragma unroll
    for (int b = 0; b < accesses.value; ++b) {
      float v[V], g[V], sum[V] = {};
      in[b].get(v), gradient[b].get(g);
      if constexpr (kAdd) before[b].get(sum);
#pragma unroll
      for (int k = 0; k < V; ++k) {
        const float apart = act.apart(k, v[k]);
        sum[k] += act.scale[k] * act.dh(k, apart, g[k]) + (factor[k] * apart + rest[k]);
      }
      in[b].set(sum);
      in[b].store(dx + offset + b * step);
    }
  });
}

template <class T>
class DeviceNormAct final : public NormAct {
 public:
  explicit DeviceNormAct(const NormActProblem& problem)
      : p_(problem), group_(static_cast<int>(p_.channels_per_group())) {
    dispatch_vector<T>(p_.c, [&]<int V>() { chunks_ = tiling(V).chunks; });
  }

  size_t forward_scratch_bytes() const override { return own_moments() * sizeof(float4) + planes() * sizeof(float); }
  size_t backward_scratch_bytes() const override {
    return static_cast<size_t>(p_.c) * sizeof(Sums) + planes() * (chunks_ + 1) * sizeof(float2);
  }

  void forward(Stream& stream, View x, View moments, View gamma, View beta, View y, View saved,
               void* scratch) const override {
    p_.check_views(x, gamma, beta, y, saved);
    const bool given = p_.moment_chunks > 0;
    if (given) p_.check_moments(moments);
    auto* own = static_cast<float4*>(scratch);
    const auto* all = given ? static_cast<const float4*>(moments.data) : own;
    const int chunks = given ? static_cast<int>(p_.moment_chunks) : chunks_;
    float* mean_rest = reinterpret_cast<float*>(own + own_moments());
    const auto *scale = gamma.as<float>(), *shift = beta.as<float>();
    dispatch_vector<T>(p_.c, [&]<int V>() {
      const Tiling t = tiling(V);
      if (!given) launch(norm_moments<T, V>, t.grid(), t.block(), 0, stream, x.as<T>(), t, own);
      launch(norm_statistics, dim3(t.c / group_, t.samples), finish_threads(chunks), 0, stream, all, t.c, group_,
             chunks, p_.eps, saved.as<float>(), mean_rest);
      launch(norm_apply<T, V>, t.grid(), t.block(), 0, stream, x.as<T>(), t, scale, shift, saved.as<float>(), mean_rest,
             static_cast<float>(p_.slope), y.as<T>());
    });
  }

  void backward(Stream& stream, View x, View gamma, View beta, View saved, View dy, View dx, Grad grad, View dgamma,
                View dbeta, Grad parameters, void* scratch) const override {
    p_.check_views(x, gamma, beta, dy, saved);
    Sums* total = static_cast<Sums*>(scratch);
    float2* partial = reinterpret_cast<float2*>(total + p_.c);
    float2* factors = partial + planes() * chunks_;
    const auto *scale = gamma.as<float>(), *shift = beta.as<float>(), *statistic = saved.as<float>();
    const bool wanted = parameters != Grad::ignore;
    dispatch_vector<T>(p_.c, [&]<int V>() {
      const Tiling t = tiling(V);
      const float slope = static_cast<float>(p_.slope);
      launch(norm_backward_sums<T, V>, t.grid(), t.block(), 0, stream, x.as<T>(), dy.as<T>(), t, scale, shift,
             statistic, slope, partial);
      launch(norm_gradients, dim3(t.c / group_), dim3(32 * std::min(group_, kFinishWarps)), 0, stream, partial,
             t.samples, t.voxels, t.c, group_, chunks_, scale, statistic, total, factors,
             wanted ? dgamma.as<float>() : nullptr, wanted ? dbeta.as<float>() : nullptr, parameters);
      if (grad == Grad::ignore) return;
      const auto apply = grad == Grad::accumulate ? norm_backward_apply<T, V, true> : norm_backward_apply<T, V, false>;
      launch(apply, t.grid(), t.block(), 0, stream, x.as<T>(), dy.as<T>(), t, scale, shift, statistic, factors, slope,
             dx.as<T>());
    });
  }

 private:
  Tiling tiling(int vector) const { return {p_.n, p_.c, volume(p_.in), vector, sizeof(T)}; }
  size_t planes() const { return static_cast<size_t>(p_.n * p_.c); }
  size_t own_moments() const { return p_.moment_chunks ? 0 : planes() * chunks_; }
  // A block that merges a group's chunks, each thread a few of them.
  dim3 finish_threads(int chunks) const {
    return std::clamp(std::bit_ceil(static_cast<unsigned>(group_ * chunks) / 4), 32u, unsigned{kTileThreads});
  }

  const NormActProblem p_;
  const int group_;
  int chunks_ = 0;
};

}  // namespace

Engine<NormActProblem, NormAct> norm_act_native() {
  return {"native", kKernelDevice,
          [](const NormActProblem& problem) -> std::optional<std::string> {
            if (problem.dtype == DType::f64) return "f64 is the CPU's";
            return std::nullopt;
          },
          [](const NormActProblem& problem) {
            problem.validate();
            std::unique_ptr<NormAct> kernel;
            dispatch_type(problem.dtype, [&]<class T>() { kernel = std::make_unique<DeviceNormAct<T>>(problem); });
            return kernel;
          }};
}

}  // namespace metvox::METVOX_KERNEL_NS
