// SPDX-License-Identifier: Apache-2.0
// The GPU's side of kernels/augment.h: views that were checked there. Nothing waits for the host.
#pragma once
#include "kernels/augment.h"
#include "kernels/on_device.h"

namespace metvox {

// Blocks that each sum a share of a channel, and the floats of scratch that two rounds of their sums take.
constexpr int kAugmentBlocks = 256;
constexpr int64_t kAugmentSums = int64_t{2} * kAugmentBlocks * 6;

METVOX_DEVICE_DECLARE(
    void sample_affine(Stream&, View image, View labels, const AffineSampling&, View out, View out_labels);
    void spline_filter(Stream&, View image);
    void sample_spline(Stream&, View coefficients, View labels, const AffineSampling&, View out, View out_labels);
    void copy_box(Stream&, View image, View labels, const Int3& first, View out, View out_labels);
    void add_noise(Stream&, View image, float sigma, uint64_t key);
    void blur_axis(Stream&, View channel, int axis, const std::vector<float>& taps, Edge edge, View scratch);
    void scale(Stream&, View channel, float factor);
    void scale_contrast(Stream&, View channel, float factor, View scratch);
    void apply_gamma(Stream&, View channel, float exponent, bool inverted, View scratch);
    void lower_resolution(Stream&, View channel, const Int3& small, View scratch);
    void take_nearest(Stream&, View channel, View small);
    void mirror(Stream&, View volume, const std::array<bool, 3>& axes);
    void mask_outside(Stream&, View labels, View channel);
    void store_sample(Stream&, View image, View labels, View images, View targets);)

}  // namespace metvox
