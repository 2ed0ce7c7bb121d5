// SPDX-License-Identifier: Apache-2.0
// Augmentation on the GPU: voxels that move, a thread a voxel; a thread a line where that becomes a spline. Not yet run
// on hardware.
#include "kernels/augment_bodies.h"
#include "kernels/cuda/augment.h"
#include "kernels/cuda/augment_box.h"
#include "kernels/cuda/for_each.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

struct SampleAffineBody {
  Sample from;
  int32_t channels;
  double origin[3], along_z[3], along_y[3];
  float along_x[3];
  int32_t low[3], high[3];  // the window
  Box box;                  // the result's
  float* out;
  int8_t* out_labels;

  METVOX_HD void operator()(int64_t i) const {
    int32_t place[3], corner[3];
    float fraction[3];
    box.place(i, place[0], place[1], place[2]);
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      const float start = static_cast<float>(origin[a] + along_z[a] * place[0] + along_y[a] * place[1]);
      const float at = start + static_cast<float>(place[2]) * along_x[a];
      const float down = floorf(at);
      corner[a] = static_cast<int32_t>(down);
      fraction[a] = at - down;
    }
    float weight[8];
    corner_weights(fraction[0], fraction[1], fraction[2], weight);
    int32_t index[8];  // -1 outside
    int label[8];
    bool same = true;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      read_corner(corner[0] + (j >> 2 & 1), corner[1] + (j >> 1 & 1), corner[2] + (j & 1), index[j], label[j]);
      same = same && label[j] == label[0];
    }
    out_labels[i] = same ? static_cast<int8_t>(label[0]) : vote(label, weight);
    for (int32_t c = 0; c < channels; ++c) {
      const float* channel = from.image + int64_t{c} * from.box.voxels();
      float sum = 0;
#pragma unroll
      for (int j = 0; j < 8; ++j)
        if (index[j] >= 0) sum += weight[j] * channel[index[j]];
      out[int64_t{c} * box.voxels() + i] = sum;
    }
  }

  METVOX_HD void read_corner(int32_t z, int32_t y, int32_t x, int32_t& index, int& label) const {
    const int32_t p[3] = {z, y, x};
    bool inside = true;
#pragma unroll
    for (int a = 0; a < 3; ++a)
      inside = inside && p[a] >= low[a] && p[a] < high[a] && p[a] >= 0 && p[a] < from.box.extent[a];
    index = inside ? from.box.index(z, y, x) : -1;
    label = inside ? from.labels[index] : -1;
  }
};

// As SampleAffineBody, of splines; the window is cut to the source.
struct SampleSplineBody {
  Sample from;
  int32_t channels;
  double origin[3], along_z[3], along_y[3];
  float along_x[3];
  float low[3], high[3];  // centres of the outermost voxels
  Box box;                // the result's
  float* out;
  int8_t* out_labels;

  METVOX_HD void operator()(int64_t i) const {
    int32_t place[3];
    box.place(i, place[0], place[1], place[2]);
    SplinePlace p[3];
    bool inside = true;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      const float start = static_cast<float>(origin[a] + along_z[a] * place[0] + along_y[a] * place[1]);
      const float at = start + static_cast<float>(place[2]) * along_x[a];
      inside = inside && at >= low[a] && at <= high[a];
      p[a] = spline_place(inside ? at : 0.f, from.box.extent[a]);
    }
    for (int32_t c = 0; c < channels; ++c)
      out[int64_t{c} * box.voxels() + i] = inside ? tricubic(from.image + int64_t{c} * from.box.voxels(), p) : 0.f;
    out_labels[i] = inside ? label_at(p) : int8_t{-1};
  }

  METVOX_HD float tricubic(const float* channel, const SplinePlace p[3]) const {
    float sum = 0;
#pragma unroll
    for (int z = 0; z < 4; ++z)
#pragma unroll
      for (int y = 0; y < 4; ++y) {
        const float* row = channel + from.box.index(p[0].at[z], p[1].at[y], 0);
        float along_row = 0;
#pragma unroll
        for (int x = 0; x < 4; ++x) along_row += p[2].weight[x] * row[p[2].at[x]];
        sum += p[0].weight[z] * p[1].weight[y] * along_row;
      }
    return sum;
  }

  METVOX_HD int8_t label_at(const SplinePlace p[3]) const {
    float weight[8];
    int label[8];
    corner_weights(p[0].fraction, p[1].fraction, p[2].fraction, weight);
    bool same = true;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      label[j] =
          from.labels[from.box.index(p[0].at[1 + (j >> 2 & 1)], p[1].at[1 + (j >> 1 & 1)], p[2].at[1 + (j & 1)])];
      same = same && label[j] == label[0];
    }
    const int nearest = label[nearest_corner(p[0].fraction, p[1].fraction, p[2].fraction)];
    return same ? static_cast<int8_t>(label[0]) : vote(label, weight, nearest);
  }
};

// A thread a line of `n` voxels that lie `step` apart.
struct SplineLineBody {
  float* x;
  int64_t n, step;
  METVOX_HD void operator()(int64_t i) const {
    float* line = x + i / step * n * step + i % step;
    float sum = spline_first(line, n, step);
    line[0] = sum;
    for (int64_t k = 1; k < n; ++k) {
      const float before = sum;
      line[k * step] = sum = kSplineGain * line[k * step] + kSplinePole * before;
      if (k == n - 1) line[k * step] = sum = spline_last(before, sum);
    }
    for (int64_t k = n - 2; k >= 0; --k) line[k * step] = sum = kSplinePole * (sum - line[k * step]);
  }
};

struct CopyBoxBody {
  Sample from;
  int32_t channels, first[3];
  Box box;
  float* out;
  int8_t* out_labels;

  METVOX_HD void operator()(int64_t i) const {
    int32_t p[3];
    box.place(i, p[0], p[1], p[2]);
    bool inside = true;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      p[a] += first[a];
      inside = inside && p[a] >= 0 && p[a] < from.box.extent[a];
    }
    const int32_t at = inside ? from.box.index(p[0], p[1], p[2]) : 0;
    out_labels[i] = inside ? from.labels[at] : int8_t{-1};
    for (int32_t c = 0; c < channels; ++c)
      out[int64_t{c} * box.voxels() + i] = inside ? from.image[int64_t{c} * from.box.voxels() + at] : 0.f;
  }
};

template <class T>
struct MirrorBody {
  T* x;
  Box box;
  bool flip[3];

  METVOX_HD void operator()(int64_t i) const {
    int32_t p[3];
    box.place(i, p[0], p[1], p[2]);
#pragma unroll
    for (int a = 0; a < 3; ++a)
      if (flip[a]) p[a] = box.extent[a] - 1 - p[a];
    const int32_t other = box.index(p[0], p[1], p[2]);
    if (i >= other) return;  // the pair is the other's, or its own mirror image
    const T kept = x[i];
    x[i] = x[other];
    x[other] = kept;
  }
};

}  // namespace

void sample_affine(Stream& stream, View image, View labels, const AffineSampling& s, View out, View out_labels) {
  SampleAffineBody body{};
  body.from = sample_of(image, labels);
  body.channels = static_cast<int32_t>(image.shape[0]);
  for (size_t a = 0; a < 3; ++a) {
    body.origin[a] = s.origin[a];
    body.along_z[a] = s.matrix[a][0];
    body.along_y[a] = s.matrix[a][1];
    body.along_x[a] = static_cast<float>(s.matrix[a][2]);
    body.low[a] = static_cast<int32_t>(s.low[a]);
    body.high[a] = static_cast<int32_t>(s.high[a]);
  }
  body.box = box_of(out_labels);
  body.out = out.as<float>();
  body.out_labels = out_labels.as<int8_t>();
  for_each(stream, out_labels.size(), body);
}

void spline_filter(Stream& stream, View image) {
  int64_t step = 1;
  for (int axis = 3; axis > 0; step *= image.shape[axis--])
    if (const int64_t n = image.shape[axis]; n > 1)
      for_each(stream, image.size() / n, SplineLineBody{image.as<float>(), n, step});
}

void sample_spline(Stream& stream, View image, View labels, const AffineSampling& s, View out, View out_labels) {
  SampleSplineBody body{};
  body.from = sample_of(image, labels);
  body.channels = static_cast<int32_t>(image.shape[0]);
  for (size_t a = 0; a < 3; ++a) {
    body.origin[a] = s.origin[a];
    body.along_z[a] = s.matrix[a][0];
    body.along_y[a] = s.matrix[a][1];
    body.along_x[a] = static_cast<float>(s.matrix[a][2]);
    body.low[a] = static_cast<float>(std::max<int64_t>(s.low[a], 0));
    body.high[a] = static_cast<float>(std::min<int64_t>(s.high[a], body.from.box.extent[a]) - 1);
  }
  body.box = box_of(out_labels);
  body.out = out.as<float>();
  body.out_labels = out_labels.as<int8_t>();
  for_each(stream, out_labels.size(), body);
}

void copy_box(Stream& stream, View image, View labels, const Int3& first, View out, View out_labels) {
  CopyBoxBody body{
      sample_of(image, labels), static_cast<int32_t>(image.shape[0]), {}, box_of(out_labels), out.as<float>(),
      out_labels.as<int8_t>()};
  for (size_t a = 0; a < 3; ++a) body.first[a] = static_cast<int32_t>(first[a]);
  for_each(stream, out_labels.size(), body);
}

void mirror(Stream& stream, View x, const std::array<bool, 3>& axes) {
  const auto run = [&]<class T>(T* data) {
    for_each(stream, x.size(), MirrorBody<T>{data, box_of(x), {axes[0], axes[1], axes[2]}});
  };
  if (x.dtype == DType::i8) run(x.as<int8_t>());
  else run(x.as<float>());
}

}  // namespace metvox::METVOX_KERNEL_NS
