// SPDX-License-Identifier: Apache-2.0
// The loops of the native convolution, compiled per instruction set. They see an image slice by slice as planes, one a
// channel, zeros around, rows `pitch` apart: a tap is then a constant step in memory, and a vector holds neighbouring
// voxels. Elements are f32, bf16, or two bf16 channels together (pairs), always 8 outputs at a time.
#pragma once
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace metvox::native {

constexpr int kOutputs = 8;  // channels a pass computes
constexpr int kSlack = 128;  // elements that loops may read behind the last plane, finite

// One depth slice of the output of a stride-1 convolution.
struct PlaneSlice {
  const void* source[3];    // for each tap in depth: planes of all channels
  int64_t plane, channels;  // elements a plane, planes
  int64_t taps_d, taps_h, taps_w, pitch;
  int64_t positions;  // of the output: (rows - 1) * pitch + columns
};

METVOX_ISA_DECLARE(
    // planes[c][h * pitch + w] = image[h][w][c] for c below `channels`; an element has `element` bytes, 2 or 4.
    void planes_from_rows(const void* image, int64_t rows, int64_t columns, int64_t channels, int64_t image_stride,
                          int element, void* planes, int64_t plane, int64_t pitch);
    // planes[c / 2][h * pitch + w] = channels c and c + 1 of the voxel, the second of an odd last pair left as it is.
    void pair_planes_from_rows(const uint16_t* image, int64_t rows, int64_t columns, int64_t channels, uint16_t* planes,
                               int64_t plane, int64_t pitch);
    // out[8][plane]; w [taps_d][channels][taps_h][taps_w][8]
    void convolve_f32(const PlaneSlice& s, const float* w, const float* bias, float* out, int64_t plane);
    void convolve_pairs(const PlaneSlice& s, const uint32_t* w, const float* bias, float* out, int64_t plane);
    // image[h][w][k] = or += planes[k][h * pitch + w] for k below `channels`
    void rows_from_planes_f32(const float* planes, int64_t plane, int64_t pitch, int64_t rows, int64_t columns,
                              int64_t channels, int64_t image_stride, bool add, float* image);
    void rows_from_planes_bf16(const float* planes, int64_t plane, int64_t pitch, int64_t rows, int64_t columns,
                               int64_t channels, int64_t image_stride, bool add, uint16_t* image);
    // sums[taps_d][channels][taps_h][8][taps_w][16] += products of dy, planes [8][dy_plane] with zeros between rows,
    // and the source
    void correlate_f32(const PlaneSlice& s, const float* dy, int64_t dy_plane, float* sums);
    void correlate_bf16(const PlaneSlice& s, const uint16_t* dy, int64_t dy_plane, float* sums);)

constexpr int kSumLanes = 16;

}  // namespace metvox::native
