// SPDX-License-Identifier: Apache-2.0
// Voxel loops of augmentation: statistics, gamma, noise, separable filters.
#include <math.h>

#include "segmentation/training/loops.h"

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

namespace {

// Short forms of our own, because the compiler can make them vectors. Relative error below 1e-6.
// Logarithm to base 2 of a positive normal number: mantissa in [sqrt(1/2), sqrt(2)), odd series of its Moebius image.
inline float log2_of(float x) {
  const int32_t bits = __builtin_bit_cast(int32_t, x);
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;
  const float m = __builtin_bit_cast(float, bits - (exponent << 23));
  const float s = (m - 1) / (m + 1), q = s * s;
  const float ln = 2 * s * (1 + q * (1 / 3.0f + q * (1 / 5.0f + q * (1 / 7.0f + q / 9.0f))));
  return static_cast<float>(exponent) + ln * 1.44269504f;
}

// 2^x for x in [-126, 127]: Taylor's series of the remainder in [-1/2, 1/2].
inline float exp2_of(float x) {
  const int32_t whole = static_cast<int32_t>(x + (x < 0 ? -0.5f : 0.5f));
  const float y = (x - static_cast<float>(whole)) * 0.693147181f;
  const float series =
      1 + y * (1 + y * (1 / 2.0f + y * (1 / 6.0f + y * (1 / 24.0f + y * (1 / 120.0f + y * (1 / 720.0f))))));
  return series * __builtin_bit_cast(float, (whole + 127) << 23);
}

// Sine and cosine of t full turns, t in [0, 1): within an eighth of a turn of a quarter, then turned there.
inline void sine_cosine(float t, float* sine, float* cosine) {
  const int32_t quarter = static_cast<int32_t>(4 * t + 0.5f);
  const float x = (t - 0.25f * static_cast<float>(quarter)) * 6.28318531f, q = x * x;
  const float s = x * (1 - q * (1 / 6.0f - q * (1 / 120.0f - q / 5040.0f)));
  const float c = 1 - q * (1 / 2.0f - q * (1 / 24.0f - q * (1 / 720.0f - q / 40320.0f)));
  const float a = quarter & 1 ? c : s, b = quarter & 1 ? s : c;
  *sine = quarter & 2 ? -a : a;
  *cosine = (quarter + 1) & 2 ? -b : b;
}

}  // namespace

void power(float* x, int64_t n, float min, float inverse_range, float exponent) {
  for (int64_t i = 0; i < n; ++i) {
    const float y = (x[i] - min) * inverse_range;
    x[i] = exp2_of(exponent * log2_of(y > 1e-20f ? y : 1e-20f));
  }
}

namespace {

constexpr int64_t kLanes = 64;  // Philox blocks at a time: four words, hence four normals, each

// Philox4x32-10 of counters (first + lane, 0, 0, 0), as tensor/random.h.
void philox_lanes(uint64_t first, uint64_t key, uint32_t (*word)[kLanes]) {
  for (int64_t l = 0; l < kLanes; ++l) {
    const uint64_t counter = first + static_cast<uint64_t>(l);
    uint32_t c0 = static_cast<uint32_t>(counter), c1 = static_cast<uint32_t>(counter >> 32), c2 = 0, c3 = 0;
    uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      const uint64_t a = uint64_t{0xD2511F53u} * c0, b = uint64_t{0xCD9E8D57u} * c2;
      c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
      c1 = static_cast<uint32_t>(b);
      c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
      c3 = static_cast<uint32_t>(a);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    word[0][l] = c0;
    word[1][l] = c1;
    word[2][l] = c2;
    word[3][l] = c3;
  }
}

// Box and Muller: 2 kLanes words to 2 kLanes normals. 24 bits of each word, the first kept off 0.
void normals(const uint32_t* u, const uint32_t* v, float sigma, float* a, float* b) {
  for (int64_t l = 0; l < kLanes; ++l) {
    const float uniform = (static_cast<float>(static_cast<int32_t>(u[l] >> 8)) + 0.5f) * 0x1p-24f;
    const float radius = sigma * sqrtf(-2.0f * 0.693147181f * log2_of(uniform));
    float sine, cosine;
    sine_cosine(static_cast<float>(static_cast<int32_t>(v[l] >> 8)) * 0x1p-24f, &sine, &cosine);
    a[l] = radius * cosine;
    b[l] = radius * sine;
  }
}

}  // namespace

void add_noise(float* x, int64_t channels, int64_t n, float sigma, uint64_t key) {
  uint32_t word[4][kLanes];
  float noise[4 * kLanes];
  for (int64_t first = 0; first < n; first += 4 * kLanes) {
    philox_lanes(static_cast<uint64_t>(first / 4), key, word);
    normals(word[0], word[1], sigma, noise, noise + kLanes);
    normals(word[2], word[3], sigma, noise + 2 * kLanes, noise + 3 * kLanes);
    const int64_t count = n - first < 4 * kLanes ? n - first : 4 * kLanes;
    for (int64_t c = 0; c < channels; ++c) {
      float* row = x + c * n + first;
      for (int64_t i = 0; i < count; ++i) row[i] += noise[i];
    }
  }
}

namespace {

inline int64_t reflect(int64_t i, int64_t n) { return i < 0 ? -i : i >= n ? 2 * n - 2 - i : i; }

}  // namespace

void filter_rows(const float* x, float* out, int64_t rows, int64_t n, const float* taps, int64_t half) {
  for (int64_t r = 0; r < rows; ++r, x += n, out += n) {
    for (int64_t i = 0; i < n; ++i) out[i] = taps[half] * x[i];
    for (int64_t t = 1; t <= half; ++t) {
      const float tap = taps[half - t];
      for (int64_t i = t; i < n - t; ++i) out[i] += tap * (x[i - t] + x[i + t]);
      for (int64_t i = 0; i < t; ++i) {
        out[i] += tap * (x[reflect(i - t, n)] + x[reflect(i + t, n)]);
        const int64_t j = n - 1 - i;
        if (j >= t) out[j] += tap * (x[reflect(j - t, n)] + x[reflect(j + t, n)]);
      }
    }
  }
}

void filter_axis(const float* x, float* out, int64_t outer, int64_t n, int64_t inner, const float* taps, int64_t half) {
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < n; ++i) {
      const float* block = x + o * n * inner;
      float* row = out + (o * n + i) * inner;
      for (int64_t k = 0; k < inner; ++k) row[k] = taps[half] * block[i * inner + k];
      for (int64_t t = 1; t <= half; ++t) {
        const float* before = block + reflect(i - t, n) * inner;
        const float* after = block + reflect(i + t, n) * inner;
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
