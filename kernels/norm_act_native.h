// SPDX-License-Identifier: Apache-2.0
// Loops of norm_act's native engine over a run of neighbouring voxels of one sample; T is float or uint16_t (bf16).
#pragma once
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace metvox::native {

// Per channel: x^ scaled is (x - center) * scale + shift.
struct NormConstants {
  const float *center, *scale, *shift;
};
// Per channel: dx = scale * dh + slope * (x - center) + offset.
struct NormGradient {
  const float *slope, *offset;
};

}  // namespace metvox::native

namespace metvox {

METVOX_ISA_DECLARE(
    // mean and sum of squared deviations from it, per channel, double.
    template <class T> void norm_moments(const T* x, int64_t voxels, int64_t c, double* mean, double* square);
    template <class T>
    void norm_apply(const T* x, int64_t voxels, int64_t c, native::NormConstants, float negative_slope, T* y);
    // Sums of dh and of dh (x - center), per channel, double.
    template <class T> void norm_backward_sums(const T* x, const T* dy, int64_t voxels, int64_t c,
                                               native::NormConstants, float negative_slope, double* dh, double* dh_x);
    template <class T>
    void norm_backward_apply(const T* x, const T* dy, int64_t voxels, int64_t c, native::NormConstants,
                             native::NormGradient, float negative_slope, bool accumulate, T* dx);)

}  // namespace metvox
