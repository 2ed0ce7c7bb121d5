// SPDX-License-Identifier: Apache-2.0
#include "kernels/resample.h"

#include "kernels/cuda/resample.h"

namespace metvox {
namespace {

void check_volumes(const char* op, View in, View out) {
  check(in.dtype == DType::f32 && out.dtype == DType::f32 && in.shape.rank() == 3 && out.shape.rank() == 3 &&
            in.shape[0] == out.shape[0] && in.shape[2] == out.shape[2] && in.size() > 0 && out.size() > 0,
        op, ": ", in.shape, " to ", out.shape);
  constexpr int64_t kMost = (int64_t{1} << 31) - 1;
  for (const View& v : {in, out})
    if (v.size() > kMost) fail(Fault::usage, op, ": a GPU resamples volumes of less than 2^31 voxels, not ", v.shape);
}

[[noreturn]] void only_for_gpus(const char* op) { fail(Fault::internal, op, ": for GPUs"); }

}  // namespace

void resample_lines(Stream& stream, View in, const LineTapsView& taps, View ranges, View out) {
  check_volumes("resample_lines", in, out);
  const Shape& rows = taps.rows.shape;
  check(taps.rows.dtype == DType::i32 && taps.weights.dtype == DType::f32 && rows.rank() == 2 &&
            rows == taps.weights.shape && rows[0] == out.shape[1],
        "resample_lines: rows ", rows, ", weights ", taps.weights.shape, " for ", out.shape);
  check(!ranges || (ranges.shape.rank() == 2 && ranges.shape[1] == 2 && in.shape[0] % ranges.shape[0] == 0),
        "resample_lines: ranges ", ranges.shape, " for ", in.shape);
  METVOX_ON_DEVICE(stream, resample_lines(stream, in, taps, ranges, out))
  only_for_gpus("resample_lines");
}

void spline_coefficients(Stream& stream, View x, View c) {
  check_volumes("spline_coefficients", x, c);
  check(c.shape[1] == x.shape[1] + 4, "spline_coefficients: ", c.shape, " of ", x.shape);
  METVOX_ON_DEVICE(stream, spline_coefficients(stream, x, c))
  only_for_gpus("spline_coefficients");
}

void find_ranges(Stream& stream, View x, View ranges, void* scratch) {
  check(x.dtype == DType::f32 && x.shape.rank() == 2 && x.size() > 0 && ranges.shape == Shape{x.shape[0], 2},
        "find_ranges: ", ranges.shape, " of ", x.shape);
  METVOX_ON_DEVICE(stream, find_ranges(stream, x, ranges, scratch))
  only_for_gpus("find_ranges");
}

size_t find_ranges_scratch(int64_t rows) { return static_cast<size_t>(rows) * kRangeChunks * 2 * sizeof(float); }

}  // namespace metvox
