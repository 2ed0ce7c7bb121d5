// SPDX-License-Identifier: Apache-2.0
// Exact Euclidean distances on a voxel grid, by lower envelopes of parabolas, axis by axis.
#pragma once
#include "tensor/tensor.h"

namespace metvox {

// Squared distance in mm^2, f64 (z, y, x), of every point of a grid to the nearest marked one (u8, non-zero); infinite
// where nothing is marked. Exact up to the rounding of sums of three squares.
// Source: Felzenszwalb and Huttenlocher, Distance Transforms of Sampled Functions, 2012.
Tensor squared_distances(const Tensor& marked, const Double3& spacing_mm);

}  // namespace metvox
