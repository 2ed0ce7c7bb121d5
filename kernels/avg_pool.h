// SPDX-License-Identifier: Apache-2.0
// Means of boxes that tile the image: window and stride are one.
//   x (N, C, D, H, W)   y (N, C, D / s0, H / s1, W / s2), both of one type; every extent a multiple of the stride
// Sums in float, or double for f64. Source: torch.nn.AvgPool3d(stride, stride).
#pragma once
#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox {

// Throws Error where the stride does not divide an extent.
Shape avg_pool_shape(const Shape& x, const Int3& stride);
void avg_pool(Stream&, View x, const Int3& stride, View y);
void avg_pool_backward(Stream&, View dy, const Int3& stride, View dx, Grad);

}  // namespace metvox
