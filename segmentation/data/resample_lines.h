// SPDX-License-Identifier: Apache-2.0
// The hot loops of resampling: many parallel lines at once, `width` of them side by side, so that the recursion of the
// B-spline prefilter runs along rows while the arithmetic runs across them.
#pragma once
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace metvox {

struct LinePass {
  const float* in = nullptr;  // n_in rows of `width` floats, in_stride apart
  int64_t in_stride = 0;
  float* out = nullptr;  // n_out rows of `width` floats, out_stride apart
  int64_t out_stride = 0;
  int64_t width = 0, n_in = 0, n_out = 0;
  const int64_t* rows = nullptr;   // n_out times 4 (cubic) or 2 (linear) row indices
  const float* weights = nullptr;  // and their weights
  float* scratch = nullptr;        // cubic: (n_in + kCubicMargin) * width floats
  float low = 0, high = 0;         // what the result is limited to
};

// Cubic coefficients lie in rows -2 .. n_in + 1 of the scratch; row 0 of it is coefficient -2. `in` may be the scratch
// itself, 2 * width floats from its start.
inline constexpr int64_t kCubicMargin = 4;

METVOX_ISA_DECLARE(void cubic_lines(const LinePass& p); void linear_lines(const LinePass& p);
                   // out[c * out_stride + r] = in[r * in_stride + c].
                   void transpose(const float* in, int64_t in_stride, int64_t rows, int64_t columns, float* out,
                                  int64_t out_stride);
                   void min_max(const float* in, int64_t n, float* low, float* high);)

}  // namespace metvox
