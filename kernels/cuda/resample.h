// SPDX-License-Identifier: Apache-2.0
// The GPU's side of kernels/resample.h: views that were checked there.
#pragma once
#include "kernels/on_device.h"
#include "kernels/resample.h"

namespace metvox {

constexpr int kRangeChunks = 256;  // of a row, whose ranges are found at once

METVOX_DEVICE_DECLARE(void resample_lines(Stream&, View in, const LineTapsView& taps, View ranges, View out);
                      void spline_coefficients(Stream&, View x, View c);
                      void find_ranges(Stream&, View x, View ranges, void* scratch);)

}  // namespace metvox
