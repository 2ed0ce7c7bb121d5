// SPDX-License-Identifier: Apache-2.0
// Cubic splines: lines to coefficients, and affine sampling of one row, tricubic data and labels by the largest
// trilinear weight.
#include "kernels/augment_bodies.h"
#include "kernels/augment_loops.h"

namespace metvox::METVOX_ISA {
namespace {

typedef float Quad __attribute__((vector_size(16)));

// Along x the four coefficients lie side by side but at the edges.
inline Quad load(const float* row, const SplinePlace& x) {
  Quad q;
  if (x.at[0] + 3 == x.at[3]) __builtin_memcpy(&q, row + x.at[0], sizeof q);
  else q = Quad{row[x.at[0]], row[x.at[1]], row[x.at[2]], row[x.at[3]]};
  return q;
}

void sample_voxel(const RowSampler& r, const float place[3], int64_t i) {
  SplinePlace p[3];
  for (int a = 0; a < 3; ++a) p[a] = spline_place(place[a], static_cast<int32_t>(r.extent[a]));
  const int64_t row = r.extent[2], plane = r.extent[1] * row, size = r.extent[0] * plane;
  const Quad along_x = {p[2].weight[0], p[2].weight[1], p[2].weight[2], p[2].weight[3]};
  for (int64_t c = 0; c < r.channels; ++c) {
    Quad sum = {};
    for (int z = 0; z < 4; ++z) {
      Quad in_plane = {};
      for (int y = 0; y < 4; ++y)
        in_plane += p[1].weight[y] * load(r.data + c * size + p[0].at[z] * plane + p[1].at[y] * row, p[2]);
      sum += p[0].weight[z] * in_plane;
    }
    sum *= along_x;
    r.out[c * r.out_channel_stride + i] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }
  float weight[8];
  int label[8];
  corner_weights(p[0].fraction, p[1].fraction, p[2].fraction, weight);
  bool same = true;
  for (int j = 0; j < 8; ++j) {
    label[j] = r.seg[p[0].at[1 + (j >> 2 & 1)] * plane + p[1].at[1 + (j >> 1 & 1)] * row + p[2].at[1 + (j & 1)]];
    same = same && label[j] == label[0];
  }
  const int nearest = label[nearest_corner(p[0].fraction, p[1].fraction, p[2].fraction)];
  r.out_seg[i] = same ? static_cast<int8_t>(label[0]) : vote(label, weight, nearest);
}

}  // namespace

void spline_lines(float* x, int64_t outer, int64_t n, int64_t inner) {
  constexpr int64_t kBlock = 256;  // lines side by side, so that a step down them stays in the first-level cache
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t first = 0; first < inner; first += kBlock) {
      const int64_t count = inner - first < kBlock ? inner - first : kBlock;
      float* line = x + o * n * inner + first;
      for (int64_t i = 0; i < count; ++i) line[i] = spline_first(line + i, n, inner);
      for (int64_t k = 1; k < n; ++k) {
        float *here = line + k * inner, *before = here - inner;
        for (int64_t i = 0; i < count; ++i) here[i] = kSplineGain * here[i] + kSplinePole * before[i];
      }
      float *last = line + (n - 1) * inner, *second_last = last - inner;
      for (int64_t i = 0; i < count; ++i) last[i] = spline_last(second_last[i], last[i]);
      for (int64_t k = n - 2; k >= 0; --k) {
        float *here = line + k * inner, *after = here + inner;
        for (int64_t i = 0; i < count; ++i) here[i] = kSplinePole * (after[i] - here[i]);
      }
    }
}

void sample_spline_row(const RowSampler& r) {
  for (int64_t i = 0; i < r.count; ++i) {
    float place[3];
    bool inside = true;
    for (int a = 0; a < 3; ++a) {
      place[a] = r.start[a] + static_cast<float>(i) * r.step[a];
      inside = inside && place[a] >= static_cast<float>(r.low[a]) && place[a] <= static_cast<float>(r.high[a] - 1);
    }
    if (inside) {
      sample_voxel(r, place, i);
      continue;
    }
    for (int64_t c = 0; c < r.channels; ++c) r.out[c * r.out_channel_stride + i] = 0;
    r.out_seg[i] = -1;
  }
}

}  // namespace metvox::METVOX_ISA
