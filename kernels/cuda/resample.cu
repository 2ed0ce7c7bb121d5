// SPDX-License-Identifier: Apache-2.0
// A thread for each voxel of a resampled line, a thread for each line of coefficients. Neighbours in a warp are
// neighbours in memory wherever lines lie side by side (I > 1); along x itself the threads of a warp walk down 32
// lines, which the first-level cache holds. Tested on the host executor; not yet run on hardware.
#include "kernels/cuda/resample.h"

#include "kernels/cuda/for_each.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

// Extents of views (L, n, I); products of them fit 31 bits.
struct Lines {
  uint32_t n_in, n_out, inner;
};

struct ResampleBody {
  const float* in;
  const int32_t* rows;
  const float *weights, *ranges;  // ranges may be null
  float* out;
  Lines lines;
  uint32_t taps, lines_a_range;
  METVOX_HD void operator()(int64_t element) const {
    const auto e = static_cast<uint32_t>(element);
    const uint32_t row = e / lines.inner, i = e % lines.inner, l = row / lines.n_out, o = row % lines.n_out;
    const float* line = in + int64_t{l} * lines.n_in * lines.inner + i;
    float v = 0;
    for (uint32_t k = o * taps; k < (o + 1) * taps; ++k) v += weights[k] * line[int64_t{rows[k]} * lines.inner];
    if (ranges) {
      const float low = ranges[l / lines_a_range * 2], high = ranges[l / lines_a_range * 2 + 1];
      v = v < low ? low : v > high ? high : v;
    }
    out[e] = v;
  }
};

// A recursion down the line and another one back.
struct SplineBody {
  const float* x;
  float* c;
  Lines lines;
  METVOX_HD void operator()(int64_t element) const {
    constexpr float kPole = -0.26794919243112270647f;  // sqrt(3) - 2
    const auto e = static_cast<uint32_t>(element);
    const uint32_t n = lines.n_in, l = e / lines.inner, i = e % lines.inner;
    const int64_t step = lines.inner;
    const float* from = x + l * n * step + i;
    float* to = c + l * (n + 4) * step + i;
    // What the recursion has come to along an end that goes on for ever.
    const float first = from[0] / (1 - kPole), last = from[(n - 1) * step], limit = last / (1 - kPole);
    float sum = first;
    to[0] = to[step] = sum;
    for (uint32_t k = 0; k < n; ++k) to[(k + 2) * step] = sum = from[k * step] + kPole * sum;
    to[(n + 2) * step] = sum = last + kPole * sum;
    // Behind the end the sums approach their limit by powers of the pole, which adds up to this.
    const float behind = last + kPole * sum - limit;
    float coefficient = -kPole * (limit / (1 - kPole) + behind / (1 - kPole * kPole));
    to[(n + 3) * step] = coefficient;
    for (uint32_t k = n + 3; k-- > 0;) to[k * step] = coefficient = kPole * (coefficient - to[k * step]);
  }
};

struct Range {
  float low, high;
  METVOX_DEVICE void add(float a, float b) {
    low = a < low ? a : low;
    high = b > high ? b : high;
  }
};

// Block (x, y): the range of chunk x of row y, of pairs or of single numbers.
template <bool kPairs>
__global__ void __launch_bounds__(kEachThreads) ranges_of_chunks(const float* x, int64_t n, float* ranges) {
  METVOX_SHARED(float, shared, [2][kEachThreads / 32]);
  const int t = static_cast<int>(threadIdx.x);
  const int64_t first = n * blockIdx.x / gridDim.x, last = n * (blockIdx.x + 1) / gridDim.x;
  constexpr int kNumbers = kPairs ? 2 : 1;
  const float* row = x + blockIdx.y * n * kNumbers;
  Range r{row[first * kNumbers], row[first * kNumbers + kNumbers - 1]};
  for (int64_t i = first + t; i < last; i += kEachThreads) r.add(row[i * kNumbers], row[i * kNumbers + kNumbers - 1]);
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) r.add(__shfl_xor_sync(~0u, r.low, bits), __shfl_xor_sync(~0u, r.high, bits));
  if (t % 32 == 0) shared[0][t / 32] = r.low, shared[1][t / 32] = r.high;
  __syncthreads();
  if (t != 0) return;
  for (int w = 1; w < kEachThreads / 32; ++w) r.add(shared[0][w], shared[1][w]);
  float* to = ranges + (blockIdx.y * gridDim.x + blockIdx.x) * 2;
  to[0] = r.low, to[1] = r.high;
}

Lines lines_of(const View& in, const View& out) {
  return {static_cast<uint32_t>(in.shape[1]), static_cast<uint32_t>(out.shape[1]), static_cast<uint32_t>(in.shape[2])};
}

}  // namespace

void resample_lines(Stream& stream, View in, const LineTapsView& taps, View ranges, View out) {
  const int64_t share = ranges ? in.shape[0] / ranges.shape[0] : 1;
  for_each(stream, out.size(),
           ResampleBody{in.as<float>(), taps.rows.as<int32_t>(), taps.weights.as<float>(),
                        ranges ? ranges.as<float>() : nullptr, out.as<float>(), lines_of(in, out),
                        static_cast<uint32_t>(taps.rows.shape[1]), static_cast<uint32_t>(share)});
}

void spline_coefficients(Stream& stream, View x, View c) {
  for_each(stream, x.shape[0] * x.shape[2], SplineBody{x.as<float>(), c.as<float>(), lines_of(x, c)});
}

void find_ranges(Stream& stream, View x, View ranges, void* scratch) {
  const int64_t chunks = std::min<int64_t>(x.shape[1], kRangeChunks);
  const auto rows = static_cast<unsigned>(x.shape[0]);
  auto* of_chunks = static_cast<float*>(scratch);
  launch(ranges_of_chunks<false>, dim3(static_cast<unsigned>(chunks), rows), dim3(kEachThreads), 0, stream,
         x.as<float>(), x.shape[1], of_chunks);
  launch(ranges_of_chunks<true>, dim3(1, rows), dim3(kEachThreads), 0, stream, of_chunks, chunks, ranges.as<float>());
}

}  // namespace metvox::METVOX_KERNEL_NS
