// SPDX-License-Identifier: Apache-2.0
// Source of the prefilter: Unser, Splines: a perfect fit, IEEE Signal Processing Magazine 1999. The pole is sqrt(3) -
// 2; its gain of 6 is part of the interpolation weights. Beyond its ends a line goes on with its end values for ever.
#include "segmentation/data/resample_lines.h"

namespace metvox::METVOX_ISA {
namespace {

constexpr float kPole = -0.26794919243112270647f;

void prefilter(const LinePass& p) {
  const int64_t w = p.width, n = p.n_in;
  const float steady = 1.0f / (1.0f - kPole);
  const float* first = p.in;
  const float* last = p.in + (n - 1) * p.in_stride;
  float* c = p.scratch;
  float* end = c + (n + 3) * w;
  for (int64_t j = 0; j < w; ++j) {
    end[j] = last[j] * steady;
    c[j] = c[w + j] = first[j] * steady;
  }
  for (int64_t k = 0; k < n; ++k) {
    const float* s = p.in + k * p.in_stride;
    float* row = c + (k + 2) * w;
    for (int64_t j = 0; j < w; ++j) row[j] = s[j] + kPole * row[j - w];
  }
  float* tail = end - w;
  for (int64_t j = 0; j < w; ++j) {
    const float limit = end[j], s = limit * (1.0f - kPole);
    tail[j] = s + kPole * tail[j - w];
    const float causal = s + kPole * tail[j];
    end[j] = -kPole * (limit * steady + (causal - limit) / (1.0f - kPole * kPole));
  }
  for (int64_t k = n + 2; k >= 0; --k) {
    float* row = c + k * w;
    for (int64_t j = 0; j < w; ++j) row[j] = kPole * (row[j + w] - row[j]);
  }
}

}  // namespace

void cubic_lines(const LinePass& p) {
  prefilter(p);
  const int64_t w = p.width;
  const float low = p.low, high = p.high;
  for (int64_t o = 0; o < p.n_out; ++o) {
    const float* c = p.scratch + p.rows[4 * o] * w;
    const float *a = c, *b = c + w, *d = b + w, *e = d + w, *f = p.weights + 4 * o;
    const float f0 = f[0], f1 = f[1], f2 = f[2], f3 = f[3];
    float* out = p.out + o * p.out_stride;
    for (int64_t j = 0; j < w; ++j) {
      const float v = f0 * a[j] + f1 * b[j] + f2 * d[j] + f3 * e[j];
      const float limited = v < low ? low : v;
      out[j] = limited > high ? high : limited;
    }
  }
}

void linear_lines(const LinePass& p) {
  for (int64_t o = 0; o < p.n_out; ++o) {
    const float* a = p.in + p.rows[2 * o] * p.in_stride;
    const float* b = p.in + p.rows[2 * o + 1] * p.in_stride;
    const float f0 = p.weights[2 * o], f1 = p.weights[2 * o + 1];
    float* out = p.out + o * p.out_stride;
    for (int64_t j = 0; j < p.width; ++j) out[j] = f0 * a[j] + f1 * b[j];
  }
}

void transpose(const float* in, int64_t in_stride, int64_t rows, int64_t columns, float* out, int64_t out_stride) {
  constexpr int64_t kTile = 16;
  for (int64_t c0 = 0; c0 < columns; c0 += kTile)
    for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
      const int64_t c1 = c0 + kTile < columns ? c0 + kTile : columns, r1 = r0 + kTile < rows ? r0 + kTile : rows;
      for (int64_t c = c0; c < c1; ++c)
        for (int64_t r = r0; r < r1; ++r) out[c * out_stride + r] = in[r * in_stride + c];
    }
}

void min_max(const float* in, int64_t n, float* low, float* high) {
  float a = in[0], b = in[0];
  for (int64_t i = 1; i < n; ++i) {
    a = in[i] < a ? in[i] : a;
    b = in[i] > b ? in[i] : b;
  }
  *low = a;
  *high = b;
}

}  // namespace metvox::METVOX_ISA
