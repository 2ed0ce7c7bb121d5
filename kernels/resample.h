// SPDX-License-Identifier: Apache-2.0
// Resampling along one axis on a GPU: what segmentation/data/resample.h does on a CPU with loops of its own. Volumes
// are f32 (L, n, I): L times I lines of n voxels. Results have below 2^31 voxels, else Error (Fault::usage).
#pragma once
#include "tensor/tensor.h"

namespace metvox {

// Of each voxel o of a resampled line: the voxels it is made of, i32 (n_out, taps), and their weights, f32 (n_out,
// taps). One tap takes the nearest voxel, two interpolate; four are of coefficients.
struct LineTapsView {
  View rows, weights;
};

// out[l, o, i] = sum over k of weights[o, k] * in[l, rows[o, k], i]. With `ranges`, f32 (R, 2), the result is limited
// to [low, high] of the l * R / L th.
void resample_lines(Stream&, View in, const LineTapsView& taps, View ranges, View out);

// c (L, n + 4, I): coefficients -2 to n + 1 of the cubic B-spline through x (L, n, I), without the gain of 6, which
// belongs to the weights. A line goes on with its end values for ever. Source: Unser, Splines: a perfect fit, IEEE
// Signal Processing Magazine 1999.
void spline_coefficients(Stream&, View x, View c);

// Smallest and largest of each row of x (R, n), as ranges (R, 2). scratch: that many bytes.
void find_ranges(Stream&, View x, View ranges, void* scratch);
size_t find_ranges_scratch(int64_t rows);

}  // namespace metvox
