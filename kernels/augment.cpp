// SPDX-License-Identifier: Apache-2.0
#include "kernels/augment.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/augment_bodies.h"
#include "kernels/augment_loops.h"
#include "kernels/cuda/augment.h"

namespace metvox {
namespace {

Int3 extent_of(const View& v) {
  const int last = v.shape.rank() - 1;
  return {v.shape[last - 2], v.shape[last - 1], v.shape[last]};
}

// An image (C, z, y, x) and its labels.
void check_sample(const char* op, const View& image, const View& labels) {
  check(image.dtype == DType::f32 && labels.dtype == DType::i8 && image.shape.rank() == 4 && labels.shape.rank() == 3 &&
            extent_of(image) == extent_of(labels),
        op, ": image ", image.shape, ", labels ", labels.shape);
  check(labels.size() <= std::numeric_limits<int32_t>::max(), op, ": ", labels.size(), " voxels");
}

void check_channel(const char* op, const View& x) {
  check(x.dtype == DType::f32 && x.shape.rank() == 3 && x.size() > 0, op, ": a channel of ", x.shape);
  check(x.size() <= std::numeric_limits<int32_t>::max(), op, ": ", x.size(), " voxels");
}

void check_scratch(const char* op, const View& x, const View& scratch) {
  check_channel(op, x);
  check(scratch.dtype == DType::f32 && scratch.size() >= augment_scratch(x.size()), op, ": scratch ", scratch.shape);
}

constexpr float kAny = std::numeric_limits<float>::max();

RowSampler row_sampler(const View& image, const View& labels, const AffineSampling& s, const View& out_labels) {
  const Int3 size = extent_of(labels);
  RowSampler row{};
  row.data = image.as<float>();
  row.seg = labels.as<int8_t>();
  row.channels = image.shape[0];
  row.out_channel_stride = out_labels.size();
  row.count = extent_of(out_labels)[2];
  for (size_t a = 0; a < 3; ++a) {
    row.extent[a] = size[a];
    row.low[a] = std::max<int64_t>(s.low[a], 0);
    row.high[a] = std::min(s.high[a], size[a]);
    row.step[a] = static_cast<float>(s.matrix[a][2]);
  }
  return row;
}

// Calls sample(row) of each row of the result.
template <class F>
void each_row(RowSampler row, const AffineSampling& s, View out, View out_labels, const F& sample) {
  const Int3 extent = extent_of(out_labels);
  for (int64_t z = 0; z < extent[0]; ++z)
    for (int64_t y = 0; y < extent[1]; ++y) {
      for (size_t a = 0; a < 3; ++a)
        row.start[a] = static_cast<float>(s.origin[a] + s.matrix[a][0] * static_cast<double>(z) +
                                          s.matrix[a][1] * static_cast<double>(y));
      const int64_t at = (z * extent[1] + y) * extent[2];
      row.out = out.as<float>() + at;
      row.out_seg = out_labels.as<int8_t>() + at;
      sample(row);
    }
}

}  // namespace

int64_t augment_scratch(int64_t voxels) { return std::max(voxels, kAugmentSums); }

void sample_affine(Stream& stream, View image, View labels, const AffineSampling& s, View out, View out_labels) {
  check_sample("sample_affine", image, labels);
  check_sample("sample_affine", out, out_labels);
  check(out.shape[0] == image.shape[0], "sample_affine: ", image.shape, " to ", out.shape);
  METVOX_ON_DEVICE(stream, sample_affine(stream, image, labels, s, out, out_labels))
  each_row(row_sampler(image, labels, s, out_labels), s, out, out_labels, [](const RowSampler& row) {
    METVOX_ISA_CALL(sample_row)(row);
  });
}

void spline_filter(Stream& stream, View image) {
  check(image.dtype == DType::f32 && image.shape.rank() == 4 && image.size() > 0, "spline_filter: image ", image.shape);
  check(volume(extent_of(image)) <= std::numeric_limits<int32_t>::max(), "spline_filter: image ", image.shape);
  METVOX_ON_DEVICE(stream, spline_filter(stream, image))
  int64_t inner = 1;
  for (int axis = 3; axis > 0; inner *= image.shape[axis--])
    if (const int64_t n = image.shape[axis]; n > 1)
      METVOX_ISA_CALL(spline_lines)(image.as<float>(), image.size() / (n * inner), n, inner);
}

void sample_spline(Stream& stream, View image, View labels, const AffineSampling& s, View out, View out_labels) {
  check_sample("sample_spline", image, labels);
  check_sample("sample_spline", out, out_labels);
  check(out.shape[0] == image.shape[0], "sample_spline: ", image.shape, " to ", out.shape);
  METVOX_ON_DEVICE(stream, sample_spline(stream, image, labels, s, out, out_labels))
  each_row(row_sampler(image, labels, s, out_labels), s, out, out_labels, [](const RowSampler& row) {
    METVOX_ISA_CALL(sample_spline_row)(row);
  });
}

void copy_box(Stream& stream, View image, View labels, const Int3& first, View out, View out_labels) {
  check_sample("copy_box", image, labels);
  check_sample("copy_box", out, out_labels);
  check(out.shape[0] == image.shape[0], "copy_box: ", image.shape, " to ", out.shape);
  METVOX_ON_DEVICE(stream, copy_box(stream, image, labels, first, out, out_labels))
  const Int3 size = extent_of(image), extent = extent_of(out);
  Int3 low, high;  // the part of the box that the source has
  for (size_t a = 0; a < 3; ++a) {
    low[a] = std::clamp<int64_t>(-first[a], 0, extent[a]);
    high[a] = std::clamp<int64_t>(size[a] - first[a], low[a], extent[a]);
  }
  if (volume({high[0] - low[0], high[1] - low[1], high[2] - low[2]}) < out_labels.size()) {
    std::fill_n(out.as<float>(), out.size(), 0.0f);
    std::fill_n(out_labels.as<int8_t>(), out_labels.size(), int8_t{-1});
  }
  const auto copy_rows = [&](const auto* from, auto* to) {
    for (int64_t z = low[0]; z < high[0]; ++z)
      for (int64_t y = low[1]; y < high[1]; ++y)
        std::copy_n(from + ((first[0] + z) * size[1] + first[1] + y) * size[2] + first[2] + low[2], high[2] - low[2],
                    to + (z * extent[1] + y) * extent[2] + low[2]);
  };
  for (int64_t c = 0; c < image.shape[0]; ++c)
    copy_rows(image.as<float>() + c * labels.size(), out.as<float>() + c * out_labels.size());
  copy_rows(labels.as<int8_t>(), out_labels.as<int8_t>());
}

void add_noise(Stream& stream, View image, float sigma, uint64_t key) {
  check(image.dtype == DType::f32 && image.shape.rank() == 4, "add_noise: image ", image.shape);
  METVOX_ON_DEVICE(stream, add_noise(stream, image, sigma, key))
  const int64_t voxels = volume(extent_of(image));
  for (int64_t c = 0; c < image.shape[0]; ++c)
    METVOX_ISA_CALL(add_noise)(image.as<float>() + c * voxels, voxels, sigma, key + static_cast<uint64_t>(c));
}

void blur_axis(Stream& stream, View x, int axis, const std::vector<float>& taps, Edge edge, View scratch) {
  check_scratch("blur_axis", x, scratch);
  const int64_t half = static_cast<int64_t>(taps.size()) / 2, n = x.shape[axis];
  const bool symmetric = edge == Edge::symmetric;
  check(taps.size() % 2 == 1 && taps.size() <= kMostTaps && (symmetric || half < n), "blur_axis: ", taps.size(),
        " taps along ", n);
  METVOX_ON_DEVICE(stream, blur_axis(stream, x, axis, taps, edge, scratch))
  float *data = x.as<float>(), *out = scratch.as<float>();
  const int64_t inner = axis == 1 ? x.shape[2] : x.shape[1] * x.shape[2];
  if (axis == 2) METVOX_ISA_CALL(filter_rows)(data, out, x.size() / n, n, taps.data(), half, symmetric);
  else METVOX_ISA_CALL(filter_axis)(data, out, x.size() / (n * inner), n, inner, taps.data(), half, symmetric);
  std::copy_n(out, x.size(), data);
}

void scale(Stream& stream, View x, float factor) {
  check_channel("scale", x);
  METVOX_ON_DEVICE(stream, scale(stream, x, factor))
  METVOX_ISA_CALL(scale_and_clip)(x.as<float>(), x.size(), factor, 0, -kAny, kAny);
}

void scale_contrast(Stream& stream, View x, float factor, View scratch) {
  check_scratch("scale_contrast", x, scratch);
  METVOX_ON_DEVICE(stream, scale_contrast(stream, x, factor, scratch))
  float* data = x.as<float>();
  const ChannelStatistics s = METVOX_ISA_CALL(statistics)(data, x.size());
  METVOX_ISA_CALL(scale_and_clip)(data, x.size(), factor, s.mean * (1 - factor), s.min, s.max);
}

void apply_gamma(Stream& stream, View x, float exponent, bool inverted, View scratch) {
  check_scratch("apply_gamma", x, scratch);
  METVOX_ON_DEVICE(stream, apply_gamma(stream, x, exponent, inverted, scratch))
  float* data = x.as<float>();
  const int64_t n = x.size();
  if (inverted) METVOX_ISA_CALL(scale_and_clip)(data, n, -1, 0, -kAny, kAny);
  const ChannelStatistics before = METVOX_ISA_CALL(statistics)(data, n);
  METVOX_ISA_CALL(power)(data, n, before.min, 1 / gamma_range(before), exponent);
  const ChannelStatistics after = METVOX_ISA_CALL(statistics)(data, n);
  const GammaReturn back = gamma_return(before, after, inverted);
  METVOX_ISA_CALL(scale_and_clip)(data, n, back.factor, back.shift, -kAny, kAny);
}

namespace {

// All of an axis, for the loops.
struct ZoomTables {
  std::vector<int32_t> source, at, next;
  std::vector<float> weight;
  explicit ZoomTables(const AxisZoom& axis) {
    for (int64_t k = 0; k < axis.small; ++k) source.push_back(zoom_source(axis, k));
    for (int64_t i = 0; i < axis.n; ++i) {
      const AxisZoom::Place p = zoom_place(axis, i);
      at.push_back(p.at);
      next.push_back(p.next);
      weight.push_back(p.weight);
    }
  }
};

// Down and up along the three axes: rows along x first (into `rows`), then y and z by blending whole rows.
void zoom_rows(float* x, const Int3& extent, const std::array<ZoomTables, 3>& plan, float* rows) {
  const int64_t small_z = static_cast<int64_t>(plan[0].source.size()),
                small_y = static_cast<int64_t>(plan[1].source.size());
  const int64_t width = extent[2];
  const ZoomTables& along_x = plan[2];
  std::vector<float> small(along_x.source.size());
  for (int64_t z = 0; z < small_z; ++z)
    for (int64_t y = 0; y < small_y; ++y) {
      const float* from =
          x + (plan[0].source[static_cast<size_t>(z)] * extent[1] + plan[1].source[static_cast<size_t>(y)]) * width;
      for (size_t k = 0; k < small.size(); ++k) small[k] = from[along_x.source[k]];
      METVOX_ISA_CALL(blend_gathered)
      (small.data(), along_x.at.data(), along_x.next.data(), along_x.weight.data(), rows + (z * small_y + y) * width,
       width);
    }
  std::vector<float> low(static_cast<size_t>(width)), high(low);
  for (size_t z = 0; z < static_cast<size_t>(extent[0]); ++z)
    for (size_t y = 0; y < static_cast<size_t>(extent[1]); ++y) {
      const float* a = rows + (plan[0].at[z] * small_y + plan[1].at[y]) * width;
      const float* b = a + plan[0].next[z] * small_y * width;
      const int64_t down = plan[1].next[y] * width;
      METVOX_ISA_CALL(blend)(a, a + down, plan[1].weight[y], low.data(), width);
      METVOX_ISA_CALL(blend)(b, b + down, plan[1].weight[y], high.data(), width);
      float* to = x + (static_cast<int64_t>(z) * extent[1] + static_cast<int64_t>(y)) * width;
      METVOX_ISA_CALL(blend)(low.data(), high.data(), plan[0].weight[z], to, width);
    }
}

// Reverses the axes of one (z, y, x) block in place, by rows.
template <class T>
void mirror_block(T* block, const Int3& extent, const std::array<bool, 3>& axes) {
  const auto row = [&](int64_t z, int64_t y) { return block + (z * extent[1] + y) * extent[2]; };
  for (int64_t z = 0; z < extent[0]; ++z)
    for (int64_t y = 0; y < extent[1]; ++y) {
      T* a = row(z, y);
      T* b = row(axes[0] ? extent[0] - 1 - z : z, axes[1] ? extent[1] - 1 - y : y);
      if (a > b) continue;  // the pair has been seen from its other side
      if (a == b) {
        if (axes[2]) std::reverse(a, a + extent[2]);
      } else if (axes[2]) {
        for (int64_t x = 0; x < extent[2]; ++x) std::swap(a[x], b[extent[2] - 1 - x]);
      } else {
        std::swap_ranges(a, a + extent[2], b);
      }
    }
}

}  // namespace

void lower_resolution(Stream& stream, View x, const Int3& small, View scratch) {
  check_scratch("lower_resolution", x, scratch);
  const Int3 extent = extent_of(x);
  for (size_t a = 0; a < 3; ++a)
    check(small[a] > 0 && small[a] <= extent[a], "lower_resolution: ", x.shape, " to ", Shape(small));
  METVOX_ON_DEVICE(stream, lower_resolution(stream, x, small, scratch))
  const auto tables = [&](size_t a) { return ZoomTables(axis_zoom(extent[a], small[a])); };
  zoom_rows(x.as<float>(), extent, {tables(0), tables(1), tables(2)}, scratch.as<float>());
}

void take_nearest(Stream& stream, View x, View small) {
  check_channel("take_nearest", x);
  check_channel("take_nearest", small);
  const Int3 extent = extent_of(x), few = extent_of(small);
  for (size_t a = 0; a < 3; ++a) check(few[a] <= extent[a], "take_nearest: ", small.shape, " of ", x.shape);
  METVOX_ON_DEVICE(stream, take_nearest(stream, x, small))
  const std::array<AxisZoom, 3> zoom{axis_zoom(extent[0], few[0]), axis_zoom(extent[1], few[1]),
                                     axis_zoom(extent[2], few[2])};
  float* to = small.as<float>();
  for (int64_t z = 0; z < few[0]; ++z)
    for (int64_t y = 0; y < few[1]; ++y) {
      const int64_t row = int64_t{zoom_source(zoom[0], z)} * extent[1] + zoom_source(zoom[1], y);
      for (int64_t i = 0; i < few[2]; ++i) *to++ = x.as<float>()[row * extent[2] + zoom_source(zoom[2], i)];
    }
}

void mirror(Stream& stream, View x, const std::array<bool, 3>& axes) {
  check(x.shape.rank() == 3, "mirror: ", x.shape);
  METVOX_ON_DEVICE(stream, mirror(stream, x, axes))
  if (x.dtype == DType::i8) mirror_block(x.as<int8_t>(), extent_of(x), axes);
  else mirror_block(x.as<float>(), extent_of(x), axes);
}

void mask_outside(Stream& stream, View labels, View x) {
  check_channel("mask_outside", x);
  check(labels.dtype == DType::i8 && labels.shape == x.shape, "mask_outside: labels ", labels.shape);
  METVOX_ON_DEVICE(stream, mask_outside(stream, labels, x))
  const int8_t* label = labels.as<int8_t>();
  float* data = x.as<float>();
  for (int64_t i = 0; i < x.size(); ++i)
    if (label[i] < 0) data[i] = 0;
}

void store_sample(Stream& stream, View image, View labels, View images, View targets) {
  check_sample("store_sample", image, labels);
  check(images.dtype == DType::f32 && images.size() == image.size() && targets.dtype == DType::u8 &&
            targets.size() == labels.size(),
        "store_sample: ", image.shape, " to ", images.shape, " and ", targets.shape);
  METVOX_ON_DEVICE(stream, store_sample(stream, image, labels, images, targets))
  METVOX_ISA_CALL(interleave)(image.as<float>(), image.shape[0], labels.size(), images.as<float>());
  const int8_t* from = labels.as<int8_t>();
  uint8_t* to = targets.as<uint8_t>();
  for (int64_t i = 0; i < labels.size(); ++i) to[i] = static_cast<uint8_t>(std::max<int8_t>(from[i], 0));
}

}  // namespace metvox
