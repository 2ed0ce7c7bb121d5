// SPDX-License-Identifier: Apache-2.0
// Resampling of volumes that lie on a GPU: x, y, z in turn, all channels at once, limited to the input's range in the
// last of them, as the loops of resample.cpp do it.
#include <algorithm>
#include <array>

#include "kernels/resample.h"
#include "segmentation/data/axis_taps.h"
#include "segmentation/data/resample.h"

namespace metvox {
namespace {

// Volumes (C, z, y, x); axis 0 is z.
Tensor resample_axis(Stream& stream, const Tensor& v, int axis, const LineTaps& taps, const Tensor& ranges) {
  const Device device = v.device();
  Shape s = v.shape();
  int64_t lead = 1, inner = 1;
  for (int a = 0; a < s.rank(); ++a) (a <= axis ? lead : inner) *= a == axis + 1 ? 1 : s[a];
  Tensor in = v.reshape({lead, taps.n_in, inner});
  if (taps.count == 4) {
    const Tensor c = Tensor::empty({lead, taps.n_in + 4, inner}, DType::f32, device, "coefficients");
    spline_coefficients(stream, in.view(), c.view());
    in = c;
  }
  Tensor rows = Tensor::empty({taps.n_out, taps.count}, DType::i32), weights = Tensor::empty(rows.shape(), DType::f32);
  std::copy(taps.rows.begin(), taps.rows.end(), rows.data<int32_t>());
  std::copy(taps.weights.begin(), taps.weights.end(), weights.data<float>());
  rows = rows.to(device), weights = weights.to(device);
  s[axis + 1] = taps.n_out;
  const Tensor out = Tensor::empty(s, DType::f32, device, "resampled");
  resample_lines(stream, in.view(), {rows.view(), weights.view()}, ranges.view(),
                 out.reshape({lead, taps.n_out, inner}).view());
  stream.synchronize();  // before tables and coefficients are freed
  return out;
}

Tensor ranges_of_rows(Stream& stream, const Tensor& v, int64_t rows) {
  const Tensor ranges = Tensor::empty({rows, 2}, DType::f32, v.device(), "ranges");
  const Tensor scratch =
      Tensor::empty({static_cast<int64_t>(find_ranges_scratch(rows))}, DType::u8, v.device(), "scratch");
  find_ranges(stream, v.reshape({rows, v.size() / rows}).view(), ranges.view(), scratch.view().data);
  stream.synchronize();
  return ranges;
}

}  // namespace

Tensor resample_on_device(const Tensor& data, const Int3& shape, const SeparateZ& rule, int order) {
  const Shape& n = data.shape();
  check(n.rank() == 4 && data.size() > 0 && (order == 1 || order == 3), "resample_on_device: data ", n, ", order ",
        order);
  if (rule.separate && rule.axis != 0)
    fail(Fault::usage, "a GPU resamples slices only along the first axis, z; this volume's lie along axis ", rule.axis);
  Stream stream(data.device());
  const std::array<LineTaps, 3> taps{line_taps(n[1], shape[0], rule.separate ? 0 : order),
                                     line_taps(n[2], shape[1], order), line_taps(n[3], shape[2], order)};
  const int first = rule.separate ? 1 : 0;  // of the axes that are interpolated, z being the last to be worked on
  int last = 3;
  for (int a = 2; a >= first; --a)
    if (taps[static_cast<size_t>(a)].changes()) last = a;
  Tensor v = data, ranges;
  if (order == 3 && last < 3) ranges = ranges_of_rows(stream, data, rule.separate ? n[0] * n[1] : n[0]);
  for (int a = 2; a >= 0; --a)
    if (const LineTaps& t = taps[static_cast<size_t>(a)]; t.changes())
      v = resample_axis(stream, v, a, t, a == last ? ranges : Tensor());
  return v;
}

}  // namespace metvox
