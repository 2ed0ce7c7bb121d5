// SPDX-License-Identifier: Apache-2.0
// Hot loops of augmentation, compiled for three instruction sets; call them with METVOX_ISA_CALL. Same bits on one
// instruction set, whatever thread runs them.
#pragma once
#include <cstdint>

#include "kernels/augment_bodies.h"
#include "kernels/cpu/isa.h"

namespace metvox {

// One row of an affine sampling. Voxel i of the row reads the case at start + i step, axes (z, y, x); corners outside
// [low, high) read 0, labels -1. Weights are computed for all channels at once.
struct RowSampler {
  const float* data;            // (C, z, y, x)
  const int8_t* seg;            // (z, y, x)
  int64_t channels, extent[3];  // of the case
  int64_t low[3], high[3];      // window and case
  float start[3], step[3];
  float* out;  // voxel 0 of the row in channel 0
  int64_t out_channel_stride;
  int8_t* out_seg;
  int64_t count;
};

METVOX_ISA_DECLARE(
    void sample_row(const RowSampler& row); ChannelStatistics statistics(const float* x, int64_t n);
    // x = clamp(x factor + shift, low, high)
    void scale_and_clip(float* x, int64_t n, float factor, float shift, float low, float high);
    // x = ((x - min) inverse_range)^exponent
    void power(float* x, int64_t n, float min, float inverse_range, float exponent);
    // Adds sigma times normal number i of the field `key` to x[i].
    void add_noise(float* x, int64_t n, float sigma, uint64_t key);
    // Rows of n filtered by symmetric taps: out[i] = sum_t taps[t] x[beyond(i + t - half, n, symmetric)].
    void filter_rows(const float* x, float* out, int64_t rows, int64_t n, const float* taps, int64_t half,
                     bool symmetric);
    // The same along the middle axis of (outer, n, inner).
    void filter_axis(const float* x, float* out, int64_t outer, int64_t n, int64_t inner, const float* taps,
                     int64_t half, bool symmetric);
    // Lines along the middle axis of (outer, n, inner), n > 1, to coefficients of splines.
    void spline_lines(float* x, int64_t outer, int64_t n, int64_t inner);
    // The same of splines, whose coefficients the case's data are; 0 and -1 beyond the centres of low and high - 1.
    void sample_spline_row(const RowSampler& row);
    // out[i] = a[i] + weight (b[i] - a[i])
    void blend(const float* a, const float* b, float weight, float* out, int64_t n);
    // out[i] = x[at[i]] + weight[i] (x[at[i] + next[i]] - x[at[i]])
    void blend_gathered(const float* x, const int32_t* at, const int32_t* next, const float* weight, float* out,
                        int64_t n);
    void interleave(const float* planar, int64_t channels, int64_t n, float* out);)

}  // namespace metvox
