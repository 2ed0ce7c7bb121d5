// SPDX-License-Identifier: Apache-2.0
// Voxel loops of augmentation: statistics, gamma, noise, separable filters.
#include <math.h>

#include "kernels/augment_bodies.h"
#include "kernels/augment_loops.h"

namespace metvox::METVOX_ISA {

ChannelStatistics statistics(const float* x, int64_t n) {
  constexpr int64_t kLanes = 32, kBlock = 64;  // lanes of float within a block of rows, then doubles
  const float pivot = x[0];                    // sums about a value of the data keep their digits
  float low[kLanes], high[kLanes];
  for (int64_t l = 0; l < kLanes; ++l) low[l] = high[l] = pivot;
  double sum = 0, squares = 0;
  for (int64_t first = 0; first + kLanes <= n; first += kBlock * kLanes) {
    const int64_t rows = (n - first) / kLanes < kBlock ? (n - first) / kLanes : kBlock;
    float row_sum[kLanes] = {}, row_squares[kLanes] = {};
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t l = 0; l < kLanes; ++l) {
        const float v = x[first + r * kLanes + l], d = v - pivot;
        row_sum[l] += d;
        row_squares[l] += d * d;
        low[l] = v < low[l] ? v : low[l];
        high[l] = v > high[l] ? v : high[l];
      }
    for (int64_t l = 0; l < kLanes; ++l) {
      sum += static_cast<double>(row_sum[l]);
      squares += static_cast<double>(row_squares[l]);
    }
  }
  ChannelStatistics s{0, 0, pivot, pivot};
  const auto widen = [&](float a, float b) {
    s.min = a < s.min ? a : s.min;
    s.max = b > s.max ? b : s.max;
  };
  for (int64_t l = 0; l < kLanes; ++l) widen(low[l], high[l]);
  for (int64_t i = n / kLanes * kLanes; i < n; ++i) {
    const double d = static_cast<double>(x[i] - pivot);
    sum += d;
    squares += d * d;
    widen(x[i], x[i]);
  }
  const double count = static_cast<double>(n), mean = sum / count;
  const double variance = n > 1 ? (squares - sum * mean) / (count - 1) : 0;
  s.mean = static_cast<float>(mean + static_cast<double>(pivot));
  s.deviation = static_cast<float>(sqrt(variance > 0 ? variance : 0));
  return s;
}

void scale_and_clip(float* x, int64_t n, float factor, float shift, float low, float high) {
  for (int64_t i = 0; i < n; ++i) {
    const float y = x[i] * factor + shift;
    x[i] = y < low ? low : y > high ? high : y;
  }
}

void power(float* x, int64_t n, float min, float inverse_range, float exponent) {
  for (int64_t i = 0; i < n; ++i) x[i] = power_of((x[i] - min) * inverse_range, exponent);
}

// Run by run of the field, so that the compiler can make vectors of it.
void add_noise(float* x, int64_t n, float sigma, uint64_t key) {
  uint32_t word[4][kNoiseRun];
  float noise[4 * kNoiseRun];
  for (int64_t first = 0; first < n; first += 4 * kNoiseRun) {
    for (int64_t l = 0; l < kNoiseRun; ++l) {
      uint32_t of_block[4];
      noise_words(static_cast<uint64_t>(first / 4 + l), key, of_block);
      for (int j = 0; j < 4; ++j) word[j][l] = of_block[j];
    }
    for (int half = 0; half < 2; ++half)
      for (int64_t l = 0; l < kNoiseRun; ++l)
        two_normals(word[2 * half][l], word[2 * half + 1][l], sigma, noise + 2 * half * kNoiseRun + l,
                    noise + (2 * half + 1) * kNoiseRun + l);
    const int64_t count = n - first < 4 * kNoiseRun ? n - first : 4 * kNoiseRun;
    for (int64_t i = 0; i < count; ++i) x[first + i] += noise[i];
  }
}

void filter_rows(const float* x, float* out, int64_t rows, int64_t n, const float* taps, int64_t half, bool symmetric) {
  const auto at = [&](int64_t i) { return x[beyond(i, n, symmetric)]; };
  for (int64_t r = 0; r < rows; ++r, x += n, out += n) {
    for (int64_t i = 0; i < n; ++i) out[i] = taps[half] * x[i];
    for (int64_t t = 1; t <= half; ++t) {
      const float tap = taps[half - t];
      for (int64_t i = t; i < n - t; ++i) out[i] += tap * (x[i - t] + x[i + t]);
      for (int64_t i = 0; i < t && i < n; ++i) {
        out[i] += tap * (at(i - t) + at(i + t));
        const int64_t j = n - 1 - i;
        if (j >= t) out[j] += tap * (at(j - t) + at(j + t));
      }
    }
  }
}

void filter_axis(const float* x, float* out, int64_t outer, int64_t n, int64_t inner, const float* taps, int64_t half,
                 bool symmetric) {
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < n; ++i) {
      const float* block = x + o * n * inner;
      float* row = out + (o * n + i) * inner;
      for (int64_t k = 0; k < inner; ++k) row[k] = taps[half] * block[i * inner + k];
      for (int64_t t = 1; t <= half; ++t) {
        const float* before = block + beyond(i - t, n, symmetric) * inner;
        const float* after = block + beyond(i + t, n, symmetric) * inner;
        for (int64_t k = 0; k < inner; ++k) row[k] += taps[half - t] * (before[k] + after[k]);
      }
    }
}

void blend(const float* a, const float* b, float weight, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] + weight * (b[i] - a[i]);
}

void blend_gathered(const float* x, const int32_t* at, const int32_t* next, const float* weight, float* out,
                    int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = x[at[i]] + weight[i] * (x[at[i] + next[i]] - x[at[i]]);
}

void interleave(const float* planar, int64_t channels, int64_t n, float* out) {
  if (channels == 4) {  // the usual number of sequences
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = 0; c < 4; ++c) out[4 * i + c] = planar[c * n + i];
    return;
  }
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t i = 0; i < n; ++i) out[i * channels + c] = planar[c * n + i];
}

}  // namespace metvox::METVOX_ISA
