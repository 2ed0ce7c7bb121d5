// SPDX-License-Identifier: Apache-2.0
// Positions along a world axis are measured on the grid: (index * spacing) of the volume's axis that is nearest to it,
// with its sign, so that slices of oblique volumes are those of the volume.
#include "segmentation/evaluation/slices.h"

#include <algorithm>
#include <cmath>

namespace metvox {

namespace {

constexpr Rgb kLetter{225, 225, 225};
constexpr double kFill = 0.36;  // opacity of the prediction
constexpr double kMargin_mm = 4;

Rgb blend(Rgb below, Rgb above, double opacity) {
  Rgb out{};
  for (int k = 0; k < 3; ++k) out[k] = static_cast<uint8_t>(std::lround(below[k] * (1 - opacity) + above[k] * opacity));
  return out;
}

float quantile(std::vector<float>& values, double share) {
  if (values.empty()) return 0;
  const auto nth = values.begin() + static_cast<int64_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

}  // namespace

Rgb label_colour(int label) {
  constexpr std::array<Rgb, 3> colours{{{235, 87, 87}, {64, 196, 136}, {255, 193, 59}}};
  return colours[(label + 2) % 3];
}

SlicePainter::SlicePainter(const CaseVolumes& volumes) : volumes_(volumes) {
  const std::string axes = volumes.grid.axes() == "unknown" ? "RAS" : volumes.grid.axes();
  for (int a = 0; a < 3; ++a)
    for (int file = 0; file < 3; ++file) {
      const char letter = axes[file];
      if (letter != "RAS"[a] && letter != "LPI"[a]) continue;
      axis_[a] = 2 - file;
      sign_[a] = letter == "RAS"[a] ? 1 : -1;
    }
  const float* x = volumes.image.data<float>();
  const Shape& n = volumes.image.shape();
  std::vector<float> sample;
  for (int64_t i = 0; i < n.size(); i += 7) sample.push_back(x[i]);
  black_ = quantile(sample, 0.02);
  white_ = std::max(quantile(sample, 0.9975), black_ + 1e-6f);
  // The head: what is brighter than an eighth of the range.
  const float dim = black_ + (white_ - black_) / 8;
  Int3 first{n[0] - 1, n[1] - 1, n[2] - 1}, last{0, 0, 0};
  for (int64_t i = 0; i < n.size(); ++i) {
    if (x[i] <= dim) continue;
    const Int3 p{i / (n[1] * n[2]), i / n[2] % n[1], i % n[2]};
    for (int a = 0; a < 3; ++a) {
      first[a] = std::min(first[a], p[a]);
      last[a] = std::max(last[a], p[a]);
    }
  }
  for (int a = 0; a < 3; ++a) {
    if (first[axis_[a]] > last[axis_[a]]) first[axis_[a]] = 0, last[axis_[a]] = n[axis_[a]] - 1;
    Double3 low{}, high{};
    low[axis_[a]] = static_cast<double>(first[axis_[a]]);
    high[axis_[a]] = static_cast<double>(last[axis_[a]]);
    first_mm_[a] = std::min(world(low, a), world(high, a)) - kMargin_mm;
    last_mm_[a] = std::max(world(low, a), world(high, a)) + kMargin_mm;
  }
}

double SlicePainter::world(const Double3& voxel, int axis) const {
  return sign_[axis] * voxel[axis_[axis]] * volumes_.grid.spacing_mm[2 - axis_[axis]];
}

double SlicePainter::index(double world_mm, int axis) const {
  return sign_[axis] * world_mm / volumes_.grid.spacing_mm[2 - axis_[axis]];
}

// Bilinear in the plane, the nearest slice across it; black outside.
float SlicePainter::grey(const Double3& voxel, int normal_axis) const {
  const Shape& n = volumes_.image.shape();
  std::array<int64_t, 3> i{};
  std::array<float, 3> f{};
  for (int a = 0; a < 3; ++a) {
    const double p = a == axis_[normal_axis] ? std::round(voxel[a]) : voxel[a];
    if (p < -.5 || p > static_cast<double>(n[a]) - .5) return black_;
    const double inside = std::clamp(p, 0.0, static_cast<double>(n[a] - 1));
    i[a] = std::min<int64_t>(static_cast<int64_t>(inside), std::max<int64_t>(0, n[a] - 2));
    f[a] = static_cast<float>(inside - static_cast<double>(i[a]));
  }
  float sum = 0;
  for (int corner = 0; corner < 8; ++corner) {
    float weight = 1;
    int64_t at = 0;
    for (int a = 0; a < 3; ++a) {
      const int up = corner >> a & 1;
      weight *= up ? f[a] : 1 - f[a];
      at = at * n[a] + std::min<int64_t>(i[a] + up, n[a] - 1);
    }
    if (weight > 0) sum += weight * volumes_.image.data<float>()[at];
  }
  return sum;
}

int SlicePainter::label(const Tensor& labels, const Double3& voxel) const {
  if (!labels) return 0;
  const Shape& n = labels.shape();
  int64_t at = 0;
  for (int a = 0; a < 3; ++a) {
    const int64_t i = std::llround(voxel[a]);
    if (i < 0 || i >= n[a]) return 0;
    at = at * n[a] + i;
  }
  return labels.data<uint8_t>()[at];
}

Picture SlicePainter::paint(const Plane& plane, const Window& window, double normal_mm) const {
  Picture picture(window.width, window.height, {0, 0, 0});
  std::vector<int> truth(static_cast<size_t>(window.width) * window.height);
  for (int py = 0; py < window.height; ++py)
    for (int px = 0; px < window.width; ++px) {
      Double3 voxel{};
      voxel[axis_[plane.across]] = index(window.left_mm - (px + .5) * window.mm_per_pixel, plane.across);
      voxel[axis_[plane.down]] = index(window.top_mm - (py + .5) * window.mm_per_pixel, plane.down);
      voxel[axis_[plane.normal]] = index(normal_mm, plane.normal);
      const float level = std::clamp((grey(voxel, plane.normal) - black_) / (white_ - black_), 0.f, 1.f);
      const auto byte = static_cast<uint8_t>(std::lround(255 * level));
      const int predicted = label(volumes_.prediction, voxel);
      picture.set(px, py,
                  predicted ? blend({byte, byte, byte}, label_colour(predicted), kFill) : Rgb{byte, byte, byte});
      truth[py * window.width + px] = label(volumes_.truth, voxel);
    }
  // A pixel belongs to an outline when one of the two next pixels on any side has another label.
  for (int py = 2; py + 2 < window.height; ++py)
    for (int px = 2; px + 2 < window.width; ++px) {
      const int at = py * window.width + px, here = truth[at], row = window.width;
      const std::array<int, 8> around{at - 1, at + 1, at - row, at + row, at - 2, at + 2, at - 2 * row, at + 2 * row};
      if (here && std::any_of(around.begin(), around.end(), [&](int i) { return truth[i] != here; }))
        picture.set(px, py, blend(label_colour(here), {255, 255, 255}, .2));
    }
  const bool lettered = !plane.left.empty();
  if (lettered && volumes_.grid.axes() != "unknown") {
    picture.text(8, 8, plane.left, kLetter, 2);
    picture.text(window.width - 8 - Picture::text_width(plane.right, 2), 8, plane.right, kLetter, 2);
  }
  return picture;
}

Picture SlicePainter::whole(const Plane& plane, const Double3& voxel, double mm_per_pixel, int height) const {
  const double width_mm = last_mm_[plane.across] - first_mm_[plane.across];
  const double middle_mm = (first_mm_[plane.down] + last_mm_[plane.down]) / 2;
  const Window window{last_mm_[plane.across], middle_mm + height * mm_per_pixel / 2, mm_per_pixel,
                      static_cast<int>(std::ceil(width_mm / mm_per_pixel)), height};
  return paint(plane, window, world(voxel, plane.normal));
}

Picture SlicePainter::three_planes(const Double3& voxel, int height) const {
  constexpr int kGap = 4;
  double tallest_mm = 0;
  for (int a : {1, 2}) tallest_mm = std::max(tallest_mm, last_mm_[a] - first_mm_[a]);
  std::vector<Picture> panels;
  int width = -kGap;
  for (const Plane& plane : {Plane{0, 1, 2, "R", "L"}, Plane{0, 2, 1, "R", "L"}, Plane{1, 2, 0, "A", "P"}}) {
    panels.push_back(whole(plane, voxel, tallest_mm / height, height));
    width += panels.back().width + kGap;
  }
  Picture all(width, height, {255, 255, 255});
  int x = 0;
  for (const Picture& panel : panels) {
    all.paste(panel, x, 0);
    x += panel.width + kGap;
  }
  return all;
}

Picture SlicePainter::axial(const Double3& voxel, int height) const {
  return whole({0, 1, 2, "R", "L"}, voxel, (last_mm_[1] - first_mm_[1]) / height, height);
}

Picture SlicePainter::close_up(const Double3& voxel, double field_mm, int height) const {
  const Window window{world(voxel, 0) + field_mm / 2, world(voxel, 1) + field_mm / 2, field_mm / height, height,
                      height};
  return paint({0, 1, 2, "", ""}, window, world(voxel, 2));
}

}  // namespace metvox
