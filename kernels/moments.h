// SPDX-License-Identifier: Apache-2.0
// Moments of an activation's numbers as they lie in memory, so that a norm need not read them once more to know their
// mean and variance. The kernel that makes an activation gathers them in its epilogue, chunk by chunk.
//   (N, C, chunks, 4) f32, each of some voxels of one channel: an origin, the mean's distance from it, the sum of
//   squared deviations from the mean, how many numbers. The origin is near the numbers, so that a far mean costs no
//   digits. Every voxel is in one chunk; a chunk may be of none, and its other numbers then mean nothing.
#pragma once
#include "tensor/shape.h"

namespace metvox {

inline Shape moments_shape(int64_t n, int64_t c, int64_t chunks) { return {n, c, chunks, 4}; }

}  // namespace metvox
