// SPDX-License-Identifier: Apache-2.0
// Voxel work of augmentation on one sample, on the stream's device: images f32 (C, z, y, x), a channel f32 (z, y, x),
// labels i8 (z, y, x) with -1 outside of the body. What works on a channel does so in place. Devices agree within
// rounding. Volumes have fewer than 2^31 voxels; scratch is f32, at least augment_scratch(voxels) numbers.
#pragma once
#include <vector>

#include "tensor/tensor.h"

namespace metvox {

int64_t augment_scratch(int64_t voxels);

// Voxel i of the result lies at origin + matrix i of the source. Its value is trilinear, 0 outside the source and the
// window; its label that of the largest summed weight of the eight corners, of equal ones the lowest. A corner outside
// of either is -1.
struct AffineSampling {
  Double3 origin{};
  std::array<Double3, 3> matrix{};
  Int3 low{}, high{};  // the window: low is its first voxel, high lies behind its last
};
void sample_affine(Stream&, View image, View labels, const AffineSampling&, View out, View out_labels);
// Coefficients of the cubic B-splines through the voxels of each channel, in place; edges are reflected.
void spline_filter(Stream&, View image);
// As sample_affine, of splines, the nearest corner's label winning ties: 0 and -1 at any place beyond the centres of
// the window's outermost voxels. The source, all within the window, holds coefficients and labels.
void sample_spline(Stream&, View coefficients, View labels, const AffineSampling&, View out, View out_labels);
// The box of the source that begins at `first` and has the result's extents; 0 and -1 outside the source.
void copy_box(Stream&, View image, View labels, const Int3& first, View out, View out_labels);

// Adds sigma times normal number i of the field `key` + c to voxel i of channel c.
void add_noise(Stream&, View image, float sigma, uint64_t key);
// What continues an axis beyond its ends, as numpy.pad names it: c b | a b c, which an axis of half as many voxels as
// there are taps is too short for, or b a | a b c.
enum class Edge { reflect, symmetric };
// An odd number of symmetric taps, at most kMostTaps.
constexpr size_t kMostTaps = 15;
void blur_axis(Stream&, View channel, int axis, const std::vector<float>& taps, Edge edge, View scratch);
void scale(Stream&, View channel, float factor);
// (x - mean) factor + mean, clipped to the channel's range.
void scale_contrast(Stream&, View channel, float factor, View scratch);
// ((x - min) / range)^exponent, brought back to the mean and standard deviation of before; of -x when inverted.
void apply_gamma(Stream&, View channel, float exponent, bool inverted, View scratch);
// Down to `small` by the nearest voxel and back trilinearly.
void lower_resolution(Stream&, View channel, const Int3& small, View scratch);
// The voxels that lower_resolution keeps: small (z, y, x), no axis longer than the channel's.
void take_nearest(Stream&, View channel, View small);
// Reverses axes of a channel or of labels.
void mirror(Stream&, View volume, const std::array<bool, 3>& axes);
// 0 where the label is negative.
void mask_outside(Stream&, View labels, View channel);
// To a batch: images (D, H, W, C) f32, targets (D, H, W) u8 with negative labels as 0.
void store_sample(Stream&, View image, View labels, View images, View targets);

}  // namespace metvox
