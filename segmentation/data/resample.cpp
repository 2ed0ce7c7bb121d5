// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "segmentation/data/axis_taps.h"
#include "segmentation/data/permute.h"
#include "segmentation/data/resample_lines.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

constexpr int64_t kColumns = 64;  // lines side by side: scratch stays in the second-level cache
constexpr double kAnisotropy = 3;

double position(int64_t o, int64_t n_in, int64_t n_out) {
  return (static_cast<double>(o) + 0.5) * (static_cast<double>(n_in) / static_cast<double>(n_out)) - 0.5;
}

void run_lines(const LineTaps& taps, LinePass p) {
  p.n_in = taps.n_in;
  p.n_out = taps.n_out;
  p.rows = taps.rows.data();
  p.weights = taps.weights.data();
  if (taps.count == 2) METVOX_ISA_CALL(linear_lines)(p);
  else METVOX_ISA_CALL(cubic_lines)(p);
}

struct Limits {
  float low = -std::numeric_limits<float>::infinity(), high = std::numeric_limits<float>::infinity();
};

struct Resizer {
  Resizer(const Int3& from_, const Int3& to_, int order)
      : from(from_),
        to(to_),
        z(line_taps(from[0], to[0], order)),
        y(line_taps(from[1], to[1], order)),
        x(line_taps(from[2], to[2], order)) {}

  void run(const float* in, float* out, const Limits& limits) const {
    if (!z.changes()) return run_slices(in, out, limits);
    Tensor slices;
    if (y.changes() || x.changes()) {
      slices = Tensor::empty({from[0], to[1], to[2]}, DType::f32);
      run_slices(in, slices.data<float>(), {});
      in = slices.data<float>();
    }
    run_z(in, out, limits);
  }

  Int3 from, to;
  LineTaps z, y, x;

 private:
  void run_slices(const float* in, float* out, const Limits& limits) const {
    parallel_for(from[0], 1, [&](int64_t first, int64_t last) {
      std::vector<float> scratch(static_cast<size_t>(kColumns * (std::max(from[1], from[2]) + kCubicMargin + to[2])));
      std::vector<float> rows(static_cast<size_t>(x.changes() && y.changes() ? from[1] * to[2] : 0));
      for (int64_t k = first; k < last; ++k) {
        const float* slice = in + k * from[1] * from[2];
        float* result = out + k * to[1] * to[2];
        if (x.changes()) {
          float* wide = y.changes() ? rows.data() : result;
          run_x(slice, wide, y.changes() ? Limits{} : limits, scratch.data());
          slice = wide;
        }
        if (y.changes()) run_columns(y, slice, result, to[2], 0, to[2], limits, scratch.data());
        else if (!x.changes()) std::memcpy(result, slice, sizeof(float) * static_cast<size_t>(to[1] * to[2]));
      }
    });
  }

  // Lines along x are turned, so that they too lie side by side.
  void run_x(const float* in, float* out, const Limits& limits, float* scratch) const {
    float* turned_in = scratch + 2 * kColumns;
    float* turned_out = scratch + kColumns * (from[2] + kCubicMargin);
    for (int64_t row = 0; row < from[1]; row += kColumns) {
      const int64_t width = std::min(kColumns, from[1] - row);
      METVOX_ISA_CALL(transpose)(in + row * from[2], from[2], width, from[2], turned_in, kColumns);
      run_lines(x, {.in = turned_in,
                    .in_stride = kColumns,
                    .out = turned_out,
                    .out_stride = kColumns,
                    .width = kColumns,
                    .scratch = scratch,
                    .low = limits.low,
                    .high = limits.high});
      METVOX_ISA_CALL(transpose)(turned_out, kColumns, to[2], width, out + row * to[2], to[2]);
    }
  }

  // Columns [first, last) of lines that lie `stride` apart in memory.
  static void run_columns(const LineTaps& taps, const float* in, float* out, int64_t stride, int64_t first,
                          int64_t last, const Limits& limits, float* scratch) {
    for (int64_t j = first; j < last; j += kColumns)
      run_lines(taps, {.in = in + j,
                       .in_stride = stride,
                       .out = out + j,
                       .out_stride = stride,
                       .width = std::min(kColumns, last - j),
                       .scratch = scratch,
                       .low = limits.low,
                       .high = limits.high});
  }

  void run_z(const float* in, float* out, const Limits& limits) const {
    const int64_t plane = to[1] * to[2], chunks = (plane + kColumns - 1) / kColumns;
    parallel_for(chunks, 16, [&](int64_t first, int64_t last) {
      std::vector<float> scratch(static_cast<size_t>(kColumns * (from[0] + kCubicMargin)));
      run_columns(z, in, out, plane, first * kColumns, std::min(plane, last * kColumns), limits, scratch.data());
    });
  }
};

Limits range_of(const float* in, int64_t n) {
  Limits r;
  METVOX_ISA_CALL(min_max)(in, n, &r.low, &r.high);
  return r;
}

Int3 extents(const Tensor& t) {
  const int lead = t.shape().rank() - 3;
  return {t.shape()[lead], t.shape()[lead + 1], t.shape()[lead + 2]};
}

std::array<int, 3> axis_first(int axis) { return {axis, axis == 0 ? 1 : 0, axis == 2 ? 1 : 2}; }

// In plane slice by slice, each limited to its own range; then the nearest slice.
void resize_slices(const Tensor& volume, const Tensor& result, int axis, int order) {
  const Tensor in = permute(volume, axis_first(axis));
  const Int3 from = extents(in), to = permute(extents(result), axis_first(axis));
  const int64_t plane = to[1] * to[2];
  Tensor slices = Tensor::empty({from[0], to[1], to[2]}, DType::f32);
  const Resizer resizer({1, from[1], from[2]}, {1, to[1], to[2]}, order);
  parallel_for(from[0], 1, [&](int64_t first, int64_t last) {
    for (int64_t k = first; k < last; ++k) {
      const float* slice = in.data<float>() + k * from[1] * from[2];
      const Limits limits = order == 3 ? range_of(slice, from[1] * from[2]) : Limits{};
      resizer.run(slice, slices.data<float>() + k * plane, limits);
    }
  });
  const AxisTaps nearest = nearest_taps(from[0], to[0]);
  const Tensor out = axis == 0 ? result : Tensor::empty({to[0], to[1], to[2]}, DType::f32);
  for (int64_t k = 0; k < to[0]; ++k)
    std::memcpy(out.data<float>() + k * plane, slices.data<float>() + nearest.first[static_cast<size_t>(k)] * plane,
                sizeof(float) * static_cast<size_t>(plane));
  if (axis != 0) permute_part(out, {0, 0, 0}, inverse(axis_first(axis)), result);
}

// Between volumes of two shapes.
void resize_into(const Tensor& from, const Tensor& to, int order, bool clip) {
  const float* in = from.data<float>();
  const bool limited = clip && order == 3;  // a linear result never leaves the range
  Resizer(extents(from), extents(to), order).run(in, to.data<float>(), limited ? range_of(in, from.size()) : Limits{});
}

}  // namespace

AxisTaps linear_taps(int64_t n_in, int64_t n_out) {
  AxisTaps taps;
  for (int64_t o = 0; o < n_out; ++o) {
    const double x = std::clamp(position(o, n_in, n_out), 0.0, static_cast<double>(n_in - 1));
    const double whole = std::floor(x), weight = 1 - (x - whole);
    taps.first.push_back(static_cast<int64_t>(whole));
    taps.second.push_back(std::min(taps.first.back() + 1, n_in - 1));
    taps.first_weight.push_back(weight);
    taps.second_weight.push_back(1 - weight);
  }
  return taps;
}

AxisTaps nearest_taps(int64_t n_in, int64_t n_out) {
  AxisTaps taps;
  for (int64_t o = 0; o < n_out; ++o) {
    const int64_t nearest = static_cast<int64_t>(std::floor(position(o, n_in, n_out) + 0.5));
    taps.first.push_back(std::clamp<int64_t>(nearest, 0, n_in - 1));
  }
  taps.second = taps.first;
  taps.first_weight.assign(taps.first.size(), 1);
  taps.second_weight.assign(taps.first.size(), 0);
  return taps;
}

Tensor resize(const Tensor& volume, const Int3& shape, int order, bool clip) {
  check(volume.shape().rank() == 3 && volume.size() > 0, "resize: the volume is ", volume.shape(),
        ", expected (z, y, x)");
  check(order == 1 || order == 3, "resize: order ", order, " is neither 1 nor 3");
  check(std::min({shape[0], shape[1], shape[2]}) > 0, "resize: no voxels are asked for");
  const Int3 from = extents(volume);
  if (from == shape) return volume;
  Tensor out = Tensor::empty({shape[0], shape[1], shape[2]}, DType::f32);
  resize_into(volume, out, order, clip);
  return out;
}

LineTaps line_taps(int64_t n_in, int64_t n_out, int order) {
  LineTaps taps{n_in, n_out, order == 3 ? 4 : order + 1};
  if (order < 3) {
    const AxisTaps axis = order == 1 ? linear_taps(n_in, n_out) : nearest_taps(n_in, n_out);
    for (size_t o = 0; o < axis.first.size(); ++o)
      for (int k = 0; k < taps.count; ++k) {
        taps.rows.push_back(k == 0 ? axis.first[o] : axis.second[o]);
        taps.weights.push_back(static_cast<float>(k == 0 ? axis.first_weight[o] : axis.second_weight[o]));
      }
    return taps;
  }
  for (int64_t o = 0; o < n_out; ++o) {
    const double x = position(o, n_in, n_out), whole = std::floor(x), t = x - whole, u = 1 - t;
    const double six_times[4] = {u * u * u, 4 - 6 * t * t + 3 * t * t * t, 4 - 6 * u * u + 3 * u * u * u, t * t * t};
    for (int k = 0; k < taps.count; ++k) {
      taps.rows.push_back(static_cast<int64_t>(whole) + 1 + k);
      taps.weights.push_back(static_cast<float>(six_times[k]));
    }
  }
  return taps;
}

SeparateZ separate_z(const Double3& current_mm, const Double3& target_mm) {
  for (const Double3& mm : {current_mm, target_mm}) {
    const double most = std::max({mm[0], mm[1], mm[2]}), least = std::min({mm[0], mm[1], mm[2]});
    if (most / least <= kAnisotropy) continue;
    if (std::count(mm.begin(), mm.end(), most) > 1) return {};
    return {true, static_cast<int>(std::find(mm.begin(), mm.end(), most) - mm.begin())};
  }
  return {};
}

Int3 resampled_shape(const Int3& shape, const Double3& current_mm, const Double3& target_mm) {
  Double3 extent;
  for (size_t a = 0; a < 3; ++a)
    extent[a] = std::nearbyint(current_mm[a] / target_mm[a] * static_cast<double>(shape[a]));
  constexpr double kMost = 1LL << 31;
  const double most = *std::max_element(extent.begin(), extent.end()), voxels = extent[0] * extent[1] * extent[2];
  if (!(most <= kMost && voxels <= kMost))
    fail(Fault::input, shape[0], 'x', shape[1], 'x', shape[2], " voxels of ", current_mm[0], 'x', current_mm[1], 'x',
         current_mm[2], " mm would become ", extent[0], 'x', extent[1], 'x', extent[2], " voxels of ", target_mm[0],
         'x', target_mm[1], 'x', target_mm[2], " mm, more than 2^31; check the spacing in the header (z, y, x)");
  return {static_cast<int64_t>(extent[0]), static_cast<int64_t>(extent[1]), static_cast<int64_t>(extent[2])};
}

Tensor resample_data(const Tensor& data, const Int3& shape, const Double3& current_mm, const Double3& target_mm,
                     int order) {
  if (!data.device().is_cpu()) return resample_on_device(data, shape, separate_z(current_mm, target_mm), order);
  check(data.shape().rank() == 4, "resample_data: the data are ", data.shape(), ", expected (C, z, y, x)");
  if (extents(data) == shape) return data;
  const Int3 n = extents(data);
  const int64_t channels = data.shape()[0];
  Tensor out = Tensor::empty({channels, shape[0], shape[1], shape[2]}, DType::f32);
  for (int64_t c = 0; c < channels; ++c)
    resample_channel(data.slice(c, 1).reshape({n[0], n[1], n[2]}),
                     out.slice(c, 1).reshape({shape[0], shape[1], shape[2]}), current_mm, target_mm, order);
  return out;
}

void resample_channel(const Tensor& from, const Tensor& to, const Double3& current_mm, const Double3& target_mm,
                      int order) {
  check(from.shape().rank() == 3 && to.shape().rank() == 3, "resample_channel: from ", from.shape(), " to ",
        to.shape());
  const SeparateZ rule = separate_z(current_mm, target_mm);
  if (extents(from) == extents(to)) std::memcpy(to.view().data, from.view().data, from.bytes());
  else if (rule.separate) resize_slices(from, to, rule.axis, order);
  else resize_into(from, to, order, true);
}

size_t resample_scratch_bytes(const Int3& from, const Int3& to, const Double3& current_mm, const Double3& target_mm) {
  const auto floats = [](const Int3& n) { return static_cast<size_t>(volume(n)) * sizeof(float); };
  if (from == to) return 0;
  const SeparateZ rule = separate_z(current_mm, target_mm);
  if (!rule.separate)
    return from[0] != to[0] && (from[1] != to[1] || from[2] != to[2]) ? floats({from[0], to[1], to[2]}) : 0;
  const auto axis = static_cast<size_t>(rule.axis);
  Int3 slices = to;
  slices[axis] = from[axis];
  return floats(slices) + (axis == 0 ? 0 : floats(from) + floats(to));
}

}  // namespace metvox
