// SPDX-License-Identifier: Apache-2.0
// Affine sampling of one row: trilinear data, labels by the largest weight. Voxels whose eight corners lie inside (one
// run of a straight row) take the vector path; the rest is checked corner by corner.
#include "kernels/augment_bodies.h"
#include "kernels/augment_loops.h"

namespace metvox::METVOX_ISA {
namespace {

constexpr int64_t kChunk = 256;

struct Corners {
  int32_t at[kChunk];                     // index of the lowest corner
  float z[kChunk], y[kChunk], x[kChunk];  // weights of the upper corners
};

inline float position(const RowSampler& r, int axis, int64_t i) {
  return r.start[axis] + static_cast<float>(i) * r.step[axis];
}

inline int64_t floor_of(float v) {
  const int64_t t = static_cast<int64_t>(v);
  return t - (v < static_cast<float>(t));
}

// Are all corners inside? The margin is for corners(), whose last bit may differ.
bool interior(const RowSampler& r, int64_t i) {
  constexpr float kMargin = 1 / 256.0f;
  for (int axis = 0; axis < 3; ++axis) {
    const float v = position(r, axis, i);
    if (v < static_cast<float>(r.low[axis]) || v > static_cast<float>(r.high[axis] - 1) - kMargin) return false;
  }
  return true;
}

void corners(const RowSampler& r, int64_t first, int64_t count, Corners& k) {
  const int32_t row = static_cast<int32_t>(r.extent[2]), plane = static_cast<int32_t>(r.extent[1] * r.extent[2]);
  for (int64_t i = 0; i < count; ++i) {
    const float step = static_cast<float>(first + i);
    const float z = r.start[0] + step * r.step[0], y = r.start[1] + step * r.step[1], x = r.start[2] + step * r.step[2];
    const int32_t iz = static_cast<int32_t>(z), iy = static_cast<int32_t>(y), ix = static_cast<int32_t>(x);
    k.at[i] = iz * plane + iy * row + ix;
    k.z[i] = z - static_cast<float>(iz);
    k.y[i] = y - static_cast<float>(iy);
    k.x[i] = x - static_cast<float>(ix);
  }
}

// Neighbours along x are loaded as a pair: four loads a channel instead of eight, and no gathers.
typedef float Pair __attribute__((vector_size(8)));

inline Pair load(const float* p) {
  Pair pair;
  __builtin_memcpy(&pair, p, sizeof pair);
  return pair;
}

void sample_data(const RowSampler& r, const Corners& k, int64_t count, float* out) {
  const int64_t row = r.extent[2], plane = r.extent[1] * row, size = r.extent[0] * plane;
  for (int64_t i = 0; i < count; ++i) {
    const float* p = r.data + k.at[i];
    const float x = k.x[i], y = k.y[i], z = k.z[i];
    const Pair along_x = {1 - x, x};
    const Pair w00 = along_x * ((1 - z) * (1 - y)), w01 = along_x * ((1 - z) * y), w10 = along_x * (z * (1 - y)),
               w11 = along_x * (z * y);
    for (int64_t c = 0; c < r.channels; ++c, p += size) {
      const Pair sum = w00 * load(p) + w01 * load(p + row) + w10 * load(p + plane) + w11 * load(p + plane + row);
      out[c * r.out_channel_stride + i] = sum[0] + sum[1];
    }
  }
}

void sample_labels(const RowSampler& r, const Corners& k, int64_t count, int8_t* out) {
  const int64_t row = r.extent[2], plane = r.extent[1] * row;
  for (int64_t i = 0; i < count; ++i) {
    const int8_t* p = r.seg + k.at[i];
    uint16_t pairs[4];
    __builtin_memcpy(pairs, p, 2);
    __builtin_memcpy(pairs + 1, p + row, 2);
    __builtin_memcpy(pairs + 2, p + plane, 2);
    __builtin_memcpy(pairs + 3, p + plane + row, 2);
    const uint16_t same = static_cast<uint16_t>(static_cast<uint8_t>(p[0]) * 0x0101u);
    if (pairs[0] == same && pairs[1] == same && pairs[2] == same && pairs[3] == same) {
      out[i] = p[0];
      continue;
    }
    int label[8];
    float weight[8];
    for (int j = 0; j < 8; ++j) label[j] = p[(j & 4 ? plane : 0) + (j & 2 ? row : 0) + (j & 1)];
    corner_weights(k.z[i], k.y[i], k.x[i], weight);
    out[i] = vote(label, weight);
  }
}

// A voxel at the edge: each corner is inside window and case, or nowhere.
void sample_checked(const RowSampler& r, int64_t i) {
  float fraction[3];
  int64_t low[3];
  for (int axis = 0; axis < 3; ++axis) {
    const float v = position(r, axis, i);
    low[axis] = floor_of(v);
    fraction[axis] = v - static_cast<float>(low[axis]);
  }
  float weight[8];
  int label[8];
  int64_t at[8];
  corner_weights(fraction[0], fraction[1], fraction[2], weight);
  for (int j = 0; j < 8; ++j) {
    const int64_t p[3] = {low[0] + (j >> 2 & 1), low[1] + (j >> 1 & 1), low[2] + (j & 1)};
    bool in_case = true;
    for (int axis = 0; axis < 3; ++axis) in_case = in_case && p[axis] >= r.low[axis] && p[axis] < r.high[axis];
    at[j] = in_case ? (p[0] * r.extent[1] + p[1]) * r.extent[2] + p[2] : -1;
    label[j] = in_case ? r.seg[at[j]] : -1;
  }
  const int64_t size = r.extent[0] * r.extent[1] * r.extent[2];
  for (int64_t c = 0; c < r.channels; ++c) {
    float sum = 0;
    for (int j = 0; j < 8; ++j)
      if (at[j] >= 0) sum += weight[j] * r.data[c * size + at[j]];
    r.out[c * r.out_channel_stride + i] = sum;
  }
  r.out_seg[i] = vote(label, weight);
}

}  // namespace

void sample_row(const RowSampler& r) {
  int64_t first = 0, last = r.count;
  while (first < last && !interior(r, first)) sample_checked(r, first++);
  while (last > first && !interior(r, last - 1)) sample_checked(r, --last);
  Corners k;
  for (int64_t at = first; at < last; at += kChunk) {
    const int64_t count = last - at < kChunk ? last - at : kChunk;
    corners(r, at, count, k);
    sample_data(r, k, count, r.out + at);
    sample_labels(r, k, count, r.out_seg + at);
  }
}

}  // namespace metvox::METVOX_ISA
