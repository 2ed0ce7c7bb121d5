// SPDX-License-Identifier: Apache-2.0
#include "segmentation/phantom/noise.h"

#include <algorithm>

#include "tensor/threads.h"

namespace metvox::phantom {
namespace {

// Cell and cubic B-spline weights at t knots from the lattice's first cell, which has `last` + 1 cells.
struct Weights {
  int cell;
  double w[4];
  double d[4];  // derivatives by t
  Weights(double t, double last) {
    t = std::clamp(t, 0.0, last);
    cell = static_cast<int>(t);
    const double f = t - cell, g = 1 - f;
    w[0] = g * g * g / 6;
    w[1] = (4 - 3 * f * f * (2 - f)) / 6;
    w[2] = (4 - 3 * g * g * (2 - g)) / 6;
    w[3] = f * f * f / 6;
    d[0] = -g * g / 2;
    d[1] = f * (3 * f - 4) / 2;
    d[2] = -g * (3 * g - 4) / 2;
    d[3] = f * f / 2;
  }
};

double last_cell(int knots) { return knots - 4; }

}  // namespace

SmoothNoise::SmoothNoise(Random random, const Box& box, double knot_mm) : low_(box.low), per_mm_(1 / knot_mm) {
  const Point extent = per_mm_ * (box.high - box.low);
  knots_ = {static_cast<int>(std::ceil(extent.x)) + 4, static_cast<int>(std::ceil(extent.y)) + 4,
            static_cast<int>(std::ceil(extent.z)) + 4};
  coefficient_.resize(static_cast<size_t>(knots_[0]) * knots_[1] * knots_[2]);
  // The integral of the squared B-spline is 151/315 an axis.
  const double unit = std::pow(315.0 / 151.0, 1.5);
  for (float& c : coefficient_) c = static_cast<float>(unit * random.normal());
}

double SmoothNoise::sample(Point p, Point* gradient) const {
  const Point t = per_mm_ * (p - low_);
  const Weights x(t.x, last_cell(knots_[0])), y(t.y, last_cell(knots_[1])), z(t.z, last_cell(knots_[2]));
  double value = 0;
  Point slope;
  for (int k = 0; k < 4; ++k)
    for (int j = 0; j < 4; ++j) {
      const float* c = &coefficient_[(static_cast<size_t>(z.cell + k) * knots_[1] + y.cell + j) * knots_[0] + x.cell];
      const double along = c[0] * x.w[0] + c[1] * x.w[1] + c[2] * x.w[2] + c[3] * x.w[3];
      value += along * y.w[j] * z.w[k];
      if (!gradient) continue;
      slope.x += (c[0] * x.d[0] + c[1] * x.d[1] + c[2] * x.d[2] + c[3] * x.d[3]) * y.w[j] * z.w[k];
      slope.y += along * y.d[j] * z.w[k];
      slope.z += along * y.w[j] * z.d[k];
    }
  if (gradient) *gradient = per_mm_ * slope;
  return value;
}

SmoothNoise::Line::Line(const SmoothNoise& noise, double y_mm, double z_mm)
    : low_(noise.low_.x), per_mm_(noise.per_mm_), last_(last_cell(noise.knots_[0])) {
  const Weights y((y_mm - noise.low_.y) * per_mm_, last_cell(noise.knots_[1]));
  const Weights z((z_mm - noise.low_.z) * per_mm_, last_cell(noise.knots_[2]));
  const size_t n = static_cast<size_t>(noise.knots_[0]);
  knots_.assign(n, 0);
  for (int k = 0; k < 4; ++k)
    for (int j = 0; j < 4; ++j) {
      const float w = static_cast<float>(z.w[k] * y.w[j]);
      const float* c = &noise.coefficient_[(static_cast<size_t>(z.cell + k) * noise.knots_[1] + y.cell + j) * n];
      for (size_t i = 0; i < n; ++i) knots_[i] += w * c[i];
    }
}

float SmoothNoise::Line::at(double x_mm) const {
  const Weights x((x_mm - low_) * per_mm_, last_);
  const float* c = &knots_[static_cast<size_t>(x.cell)];
  return static_cast<float>(c[0] * x.w[0] + c[1] * x.w[1] + c[2] * x.w[2] + c[3] * x.w[3]);
}

namespace {

std::vector<float> gaussian_kernel(double sigma) {
  const int radius = std::max(1, static_cast<int>(std::ceil(3 * sigma)));
  std::vector<float> kernel(static_cast<size_t>(2 * radius + 1));
  double sum = 0;
  for (int i = -radius; i <= radius; ++i) sum += std::exp(-0.5 * i * i / (sigma * sigma));
  for (int i = -radius; i <= radius; ++i)
    kernel[static_cast<size_t>(i + radius)] = static_cast<float>(std::exp(-0.5 * i * i / (sigma * sigma)) / sum);
  return kernel;
}

void blur_rows(const std::vector<float>& in, std::vector<float>& out, const std::array<int64_t, 3>& size,
               const std::vector<float>& kernel) {
  const int64_t nx = size[0], radius = static_cast<int64_t>(kernel.size()) / 2;
  parallel_for(size[1] * size[2], 64, [&](int64_t first, int64_t last) {
    std::vector<float> padded(static_cast<size_t>(nx + 2 * radius));
    for (int64_t row = first; row < last; ++row) {
      const float* x = &in[static_cast<size_t>(row * nx)];
      float* y = &out[static_cast<size_t>(row * nx)];
      std::fill_n(padded.begin(), radius, x[0]);
      std::copy_n(x, nx, padded.begin() + radius);
      std::fill_n(padded.begin() + radius + nx, radius, x[nx - 1]);
      std::fill_n(y, nx, 0.0f);
      for (size_t k = 0; k < kernel.size(); ++k)
        for (int64_t i = 0; i < nx; ++i) y[i] += kernel[k] * padded[static_cast<size_t>(i) + k];
    }
  });
}

// Along y (axis 1) or z (axis 2): whole rows are added up.
void blur_across(const std::vector<float>& in, std::vector<float>& out, const std::array<int64_t, 3>& size, int axis,
                 const std::vector<float>& kernel) {
  const int64_t nx = size[0], ny = size[1], radius = static_cast<int64_t>(kernel.size()) / 2;
  parallel_for(ny * size[2], 64, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const int64_t here = axis == 1 ? row % ny : row / ny, stride = axis == 1 ? 1 : ny;
      float* y = &out[static_cast<size_t>(row * nx)];
      std::fill_n(y, nx, 0.0f);
      for (int64_t k = -radius; k <= radius; ++k) {
        const int64_t there = std::clamp<int64_t>(here + k, 0, size[axis] - 1);
        const float* x = &in[static_cast<size_t>((row + (there - here) * stride) * nx)];
        const float w = kernel[static_cast<size_t>(k + radius)];
        for (int64_t i = 0; i < nx; ++i) y[i] += w * x[i];
      }
    }
  });
}

}  // namespace

void blur(std::vector<float>& image, const std::array<int64_t, 3>& size, const std::array<double, 3>& sigma) {
  std::vector<float> other(image.size());
  for (int axis = 0; axis < 3; ++axis) {
    if (sigma[axis] < 0.1) continue;
    const auto kernel = gaussian_kernel(sigma[axis]);
    if (axis == 0) blur_rows(image, other, size, kernel);
    else blur_across(image, other, size, axis, kernel);
    image.swap(other);
  }
}

}  // namespace metvox::phantom
