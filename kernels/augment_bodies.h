// SPDX-License-Identifier: Apache-2.0
// What a voxel of kernels/augment.h takes, for the CPU's loops and for kernels. All functions are static, so
// that each copy of an .isa.cpp keeps its own.
#pragma once
#include <math.h>

#include <cstdint>

#include "tensor/host_device.h"

namespace metvox {

// ---- elementary functions; short, so that a compiler can make them vectors. Relative error below 1e-6 ----

// Logarithm to base 2 of a positive normal number: mantissa in [sqrt(1/2), sqrt(2)), odd series of its Moebius image.
static METVOX_HD inline float log2_of(float x) {
  const int32_t bits = __builtin_bit_cast(int32_t, x);
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;
  const float m = __builtin_bit_cast(float, bits - (exponent << 23));
  const float s = (m - 1) / (m + 1), q = s * s;
  const float ln = 2 * s * (1 + q * (1 / 3.0f + q * (1 / 5.0f + q * (1 / 7.0f + q / 9.0f))));
  return static_cast<float>(exponent) + ln * 1.44269504f;
}

// 2^x for x in [-126, 127]: Taylor's series of the remainder in [-1/2, 1/2].
static METVOX_HD inline float exp2_of(float x) {
  const int32_t whole = static_cast<int32_t>(x + (x < 0 ? -0.5f : 0.5f));
  const float y = (x - static_cast<float>(whole)) * 0.693147181f;
  const float series =
      1 + y * (1 + y * (1 / 2.0f + y * (1 / 6.0f + y * (1 / 24.0f + y * (1 / 120.0f + y * (1 / 720.0f))))));
  return series * __builtin_bit_cast(float, (whole + 127) << 23);
}

// Sine and cosine of t full turns, t in [0, 1): within an eighth of a turn of a quarter, then turned there.
static METVOX_HD inline void sine_cosine(float t, float* sine, float* cosine) {
  const int32_t quarter = static_cast<int32_t>(4 * t + 0.5f);
  const float x = (t - 0.25f * static_cast<float>(quarter)) * 6.28318531f, q = x * x;
  const float s = x * (1 - q * (1 / 6.0f - q * (1 / 120.0f - q / 5040.0f)));
  const float c = 1 - q * (1 / 2.0f - q * (1 / 24.0f - q * (1 / 720.0f - q / 40320.0f)));
  const float a = quarter & 1 ? c : s, b = quarter & 1 ? s : c;
  *sine = quarter & 2 ? -a : a;
  *cosine = (quarter + 1) & 2 ? -b : b;
}

// y^exponent for y in [0, 1].
static METVOX_HD inline float power_of(float y, float exponent) {
  return exp2_of(exponent * log2_of(y > 1e-20f ? y : 1e-20f));
}

// ---- gamma ----

struct ChannelStatistics {
  float mean, deviation, min, max;  // deviation with n - 1
};

constexpr float kLeastRange = 1e-7f;
static METVOX_HD inline float gamma_range(const ChannelStatistics& s) {
  return s.max - s.min > kLeastRange ? s.max - s.min : kLeastRange;
}

// What brings powers of (x - min) / range back: power * factor + shift has the old mean and deviation, and the old sign
// where x was inverted. The powers' range is left out, since the old deviation replaces it.
struct GammaReturn {
  float factor, shift;
};
static METVOX_HD inline GammaReturn gamma_return(const ChannelStatistics& before, const ChannelStatistics& after,
                                                 bool inverted) {
  const float sign = inverted ? -1.0f : 1.0f, least = kLeastRange / gamma_range(before);
  const float factor = sign * before.deviation / (after.deviation > least ? after.deviation : least);
  return {factor, sign * before.mean - factor * after.mean};
}

// ---- the noise field: Philox block b gives the normals (b / kNoiseRun) 4 kNoiseRun + b % kNoiseRun + j kNoiseRun ----

constexpr int64_t kNoiseRun = 64;

// Philox4x32-10 of counter (block, 0, 0), as tensor/random.h.
static METVOX_HD inline void noise_words(uint64_t block, uint64_t key, uint32_t word[4]) {
  uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32), c2 = 0, c3 = 0;
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
  word[0] = c0;
  word[1] = c1;
  word[2] = c2;
  word[3] = c3;
}

// Box and Muller: two words to two normals. 24 bits of each word, the first kept off 0.
static METVOX_HD inline void two_normals(uint32_t u, uint32_t v, float sigma, float* a, float* b) {
  const float uniform = (static_cast<float>(static_cast<int32_t>(u >> 8)) + 0.5f) * 0x1p-24f;
  const float radius = sigma * sqrtf(-2.0f * 0.693147181f * log2_of(uniform));
  float sine, cosine;
  sine_cosine(static_cast<float>(static_cast<int32_t>(v >> 8)) * 0x1p-24f, &sine, &cosine);
  *a = radius * cosine;
  *b = radius * sine;
}

// ---- affine sampling: the eight corners about a point, bit 2 of a corner's number along z, bit 0 along x ----

static METVOX_HD inline void corner_weights(float z, float y, float x, float weight[8]) {
  for (int i = 0; i < 8; ++i) weight[i] = (i & 4 ? z : 1 - z) * (i & 2 ? y : 1 - y) * (i & 1 ? x : 1 - x);
}

// The label of the largest summed weight; of equal ones `preferred`, else the lowest.
static METVOX_HD inline int8_t vote(const int label[8], const float weight[8], int preferred = -1) {
  int best = -1;
  float best_weight = -1;
  for (int i = 0; i < 8; ++i) {
    float sum = 0;
    for (int j = 0; j < 8; ++j) sum += label[j] == label[i] ? weight[j] : 0.0f;
    const bool tie_won = sum == best_weight && best != preferred && (label[i] == preferred || label[i] < best);
    if (sum > best_weight || tie_won) {
      best = label[i];
      best_weight = sum;
    }
  }
  return static_cast<int8_t>(best);
}

// The corner nearest to the point, the upper one where it lies halfway.
static METVOX_HD inline int nearest_corner(float z, float y, float x) {
  return (z >= 0.5f ? 4 : 0) + (y >= 0.5f ? 2 : 0) + (x >= 0.5f ? 1 : 0);
}

// ---- separable filters ----

// Index of voxel i of an axis whose edges are mirrors.
static METVOX_HD inline int64_t reflect(int64_t i, int64_t n) { return i < 0 ? -i : i >= n ? 2 * n - 2 - i : i; }
// The same where the mirrors stand behind the outermost voxels (Edge::symmetric).
static METVOX_HD inline int64_t beyond(int64_t i, int64_t n, bool symmetric) {
  if (i >= 0 && i < n) return i;
  if (!symmetric) return reflect(i, n);
  const int64_t r = i < 0 ? (-1 - i) % (2 * n) : i % (2 * n);
  return r < n ? r : 2 * n - 1 - r;
}

// ---- cubic B-splines through n voxels whose edges are mirrors (M. Unser, Splines: a perfect fit, 1999) ----

// Of the line x[0], x[step], ... to coefficients, in place: a recursion down the line and another one back.
constexpr float kSplinePole = -0.267949192f, kSplineGain = 6;
static METVOX_HD inline float spline_first(const float* x, int64_t n, int64_t step) {
  constexpr int64_t kHorizon = 24;  // powers of the pole below 2^-45
  float power = kSplinePole, sum = x[0], last_power = 0;
  if (n <= kHorizon) {
    last_power = 1;
    for (int64_t k = 1; k < n; ++k) last_power *= kSplinePole;
    sum += last_power * x[(n - 1) * step];
  }
  for (int64_t k = 1; k < n - 1 && k < kHorizon; ++k) {
    sum += power * (x[k * step] + last_power * x[(n - 1 - k) * step]);
    power *= kSplinePole;
  }
  return kSplineGain * sum / (1 - last_power * last_power);
}
static METVOX_HD inline float spline_last(float before, float last) {
  return kSplinePole / (kSplinePole * kSplinePole - 1) * (last + kSplinePole * before);
}

// The four coefficients about a place within [0, n - 1], and their weights; between at[1] and at[2] it lies `fraction`
// of the way.
struct SplinePlace {
  int32_t at[4];
  float weight[4], fraction;
};
static METVOX_HD inline SplinePlace spline_place(float place, int32_t n) {
  if (n == 1) return {{0, 0, 0, 0}, {0, 1, 0, 0}, 0};
  int32_t low = static_cast<int32_t>(place);
  if (low > n - 2) low = n - 2;
  const float t = place - static_cast<float>(low), u = 1 - t;
  return {{low > 0 ? low - 1 : 1, low, low + 1, low + 2 < n ? low + 2 : n - 2},
          {u * u * u / 6, (4 - 6 * t * t + 3 * t * t * t) / 6, (4 - 6 * u * u + 3 * u * u * u) / 6, t * t * t / 6},
          t};
}

// An axis of n voxels on its way down to `small` by the nearest voxel, and up again linearly.
struct AxisZoom {
  int64_t n, small;
  double down, up;  // n / small and its inverse
  struct Place {
    int32_t at, next;  // small voxels at and at + next, the latter with the weight
    float weight;
  };
};
static inline AxisZoom axis_zoom(int64_t n, int64_t small) {
  const double many = static_cast<double>(n), few = static_cast<double>(small);
  return {n, small, many / few, few / many};
}
// The original's voxel that small voxel k is.
static METVOX_HD inline int32_t zoom_source(const AxisZoom& axis, int64_t k) {
  const double p = (static_cast<double>(k) + 0.5) * axis.down, last = static_cast<double>(axis.n - 1);
  return static_cast<int32_t>(p < last ? p : last);
}
static METVOX_HD inline AxisZoom::Place zoom_place(const AxisZoom& axis, int64_t i) {
  const double p = (static_cast<double>(i) + 0.5) * axis.up - 0.5, held = p > 0 ? p : 0;
  const int32_t at = static_cast<int32_t>(held);
  return {at, at + 1 < axis.small, static_cast<float>(held - at)};
}

}  // namespace metvox
