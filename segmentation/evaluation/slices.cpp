// SPDX-License-Identifier: Apache-2.0
// Positions along a world axis are measured on the grid: (index * spacing) of the volume's axis that is nearest to it,
// with its sign, so that slices of oblique volumes are those of the volume.
#include "segmentation/evaluation/slices.h"

#include <algorithm>
#include <cmath>

namespace metvox {

namespace {

constexpr Rgb kLetter{225, 225, 225};
constexpr double kMargin_mm = 4, kTruth_px = 3, kPrediction_px = 1.5;  // where both agree, both are seen

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

SlicePainter::SlicePainter(const CaseVolumes& volumes) : volumes_(volumes) {
  const std::string axes = volumes.grid.axes() == "unknown" ? "RAS" : volumes.grid.axes();
  for (int a = 0; a < 3; ++a)
    for (int file = 0; file < 3; ++file) {
      const char letter = axes[file];
      if (letter != "RAS"[a] && letter != "LPI"[a]) continue;
      axis_[a] = 2 - file;
      sign_[a] = letter == "RAS"[a] ? 1 : -1;
    }
  const Shape& n = volumes.images.shape();
  const int64_t voxels = n[1] * n[2] * n[3];
  for (int64_t c = 0; c < n[0]; ++c) {
    const float* x = volumes.images.data<float>() + c * voxels;
    std::vector<float> some;
    for (int64_t i = 0; i < voxels; i += 7) some.push_back(x[i]);
    const float black = quantile(some, 0.02);
    levels_.push_back({black, std::max(quantile(some, 0.9975), black + 1e-6f)});
  }
  find_head();
}

// What is brighter in the first image than an eighth of its range, and a margin.
void SlicePainter::find_head() {
  const float* x = volumes_.images.data<float>();
  const Int3 n{volumes_.images.shape()[1], volumes_.images.shape()[2], volumes_.images.shape()[3]};
  const float dim = levels_[0].black + (levels_[0].white - levels_[0].black) / 8;
  Int3 first{n[0] - 1, n[1] - 1, n[2] - 1}, last{0, 0, 0};
  for (int64_t i = 0; i < volume(n); ++i) {
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

Double3 SlicePainter::voxel_at(const Plane& plane, const Window& window, int column, int row) const {
  Double3 voxel{};
  voxel[axis_[plane.across]] = index(window.left_mm - (column + .5) * window.mm_per_pixel, plane.across);
  voxel[axis_[plane.down]] = index(window.top_mm - (row + .5) * window.mm_per_pixel, plane.down);
  voxel[axis_[plane.normal]] = index(window.normal_mm, plane.normal);
  return voxel;
}

// Bilinear in the plane, the nearest slice across it.
template <class ValueAt>
float SlicePainter::sample(const Double3& voxel, int normal_axis, float outside, ValueAt value_at) const {
  const Shape& n = volumes_.images.shape();
  std::array<int64_t, 3> i{};
  std::array<float, 3> f{};
  for (int a = 0; a < 3; ++a) {
    const double p = a == axis_[normal_axis] ? std::round(voxel[a]) : voxel[a];
    if (p < -.5 || p > static_cast<double>(n[1 + a]) - .5) return outside;
    const double inside = std::clamp(p, 0.0, static_cast<double>(n[1 + a] - 1));
    i[a] = std::min<int64_t>(static_cast<int64_t>(inside), std::max<int64_t>(0, n[1 + a] - 2));
    f[a] = static_cast<float>(inside - static_cast<double>(i[a]));
  }
  float sum = 0;
  for (int corner = 0; corner < 8; ++corner) {
    float weight = 1;
    int64_t at = 0;
    for (int a = 0; a < 3; ++a) {
      const int up = corner >> a & 1;
      weight *= up ? f[a] : 1 - f[a];
      at = at * n[1 + a] + std::min<int64_t>(i[a] + up, n[1 + a] - 1);
    }
    if (weight > 0) sum += weight * value_at(at);
  }
  return sum;
}

template <class ValueAt>
float SlicePainter::look(const Double3& voxel, int normal_axis, float outside, bool through, ValueAt value_at) const {
  if (!through) return sample(voxel, normal_axis, outside, value_at);
  Double3 at = voxel;
  double& slice = at[axis_[normal_axis]];
  float highest = outside;
  for (slice = 0; slice < static_cast<double>(volumes_.images.shape()[1 + axis_[normal_axis]]); ++slice)
    highest = std::max(highest, sample(at, normal_axis, outside, value_at));
  return highest;
}

Picture SlicePainter::paint(const Plane& plane, const Window& window, const SliceContent& content) const {
  Picture picture(window.width, window.height, {0, 0, 0});
  const Shape& n = volumes_.images.shape();
  const float* image = volumes_.images.data<float>() + content.image * n[1] * n[2] * n[3];
  const auto [black, white] = levels_[content.image];
  for (int y = 0; y < window.height; ++y)
    for (int x = 0; x < window.width; ++x) {
      const Double3 voxel = voxel_at(plane, window, x, y);
      const float value = look(voxel, plane.normal, black, content.through, [&](int64_t i) { return image[i]; });
      const float level = std::clamp((value - black) / (white - black), 0.f, 1.f);
      const auto byte = static_cast<uint8_t>(std::lround(255 * level));
      Rgb colour{byte, byte, byte};
      for (const Tint& tint : content.tints) {
        const float* share = tint.share.data<float>();
        const float opacity = look(voxel, plane.normal, 0, content.through, [&](int64_t i) { return share[i]; });
        colour = blend(colour, tint.colour, std::clamp(opacity, 0.f, 1.f));
      }
      picture.set(x, y, colour);
    }
  for (const LabelTarget& region : content.outlined)
    outline(picture, plane, window, volumes_.truth, region, kTruthColour, kTruth_px);
  for (const LabelTarget& region : content.outlined)
    outline(picture, plane, window, volumes_.prediction, region, kPredictionColour, kPrediction_px);
  picture.text(8, window.height - 20, content.name, kLetter, 2);
  if (volumes_.grid.axes() != "unknown") {
    picture.text(8, 8, plane.left, kLetter, 2);
    picture.text(window.width - 8 - Picture::text_width(plane.right, 2), 8, plane.right, kLetter, 2);
  }
  return picture;
}

// Where the region's share, interpolated between voxels, passes a half: a pixel's distance from there is what the share
// differs from a half over its slope.
void SlicePainter::outline(Picture& picture, const Plane& plane, const Window& window, const Tensor& labels,
                           const LabelTarget& region, Rgb colour, double width_px) const {
  if (!labels) return;
  std::array<float, 256> inside{};
  for (const int label : region.labels) inside.at(label) = 1;
  const uint8_t* at = labels.data<uint8_t>();
  const int row = window.width + 2;  // a pixel more on every side
  std::vector<float> share(static_cast<size_t>(row) * (window.height + 2));
  for (int y = 0; y < window.height + 2; ++y)
    for (int x = 0; x < row; ++x)
      share[y * row + x] =
          sample(voxel_at(plane, window, x - 1, y - 1), plane.normal, 0, [&](int64_t i) { return inside[at[i]]; });
  for (int y = 0; y < window.height; ++y)
    for (int x = 0; x < window.width; ++x) {
      const float* here = &share[(y + 1) * row + x + 1];
      const double slope = std::hypot(here[1] - here[-1], here[row] - here[-row]) / 2;
      const double distance_px = std::abs(*here - .5) / std::max(slope, 1e-6);
      const double opacity = std::clamp(width_px / 2 + .5 - distance_px, 0.0, 1.0);
      if (opacity > 0) picture.set(x, y, blend(picture.at(x, y), colour, opacity));
    }
}

Picture SlicePainter::whole(const Plane& plane, const Double3& voxel, int height, const SliceContent& content) const {
  const double scale = mm_per_pixel(height), width_mm = last_mm_[plane.across] - first_mm_[plane.across];
  const double middle_mm = (first_mm_[plane.down] + last_mm_[plane.down]) / 2;
  const Window window{last_mm_[plane.across],
                      middle_mm + height * scale / 2,
                      world(voxel, plane.normal),
                      scale,
                      static_cast<int>(std::ceil(width_mm / scale)),
                      height};
  return paint(plane, window, content);
}

// One scale for all planes: the longest side of the head fits.
double SlicePainter::mm_per_pixel(int height) const {
  return std::max(last_mm_[1] - first_mm_[1], last_mm_[2] - first_mm_[2]) / height;
}

Picture SlicePainter::three_planes(const Double3& voxel, int height, const SliceContent& content) const {
  std::vector<Picture> panels;
  for (const Plane& plane : planes()) panels.push_back(whole(plane, voxel, height, content));
  return beside(panels, kPanelGap);
}

Picture SlicePainter::axial(const Double3& voxel, int height, const SliceContent& content) const {
  return whole(planes()[0], voxel, height, content);
}

Picture SlicePainter::around(const Plane& plane, const Double3& voxel, double field_mm, int height,
                             const SliceContent& content) const {
  const Window window{world(voxel, plane.across) + field_mm / 2,
                      world(voxel, plane.down) + field_mm / 2,
                      world(voxel, plane.normal),
                      field_mm / height,
                      height,
                      height};
  return paint({plane.across, plane.down, plane.normal, "", ""}, window, content);
}

Picture SlicePainter::close_up(const Double3& voxel, double field_mm, int height, const SliceContent& content) const {
  return around(planes()[0], voxel, field_mm, height, content);
}

Picture SlicePainter::close_up_planes(const Double3& voxel, double field_mm, int height,
                                      const SliceContent& content) const {
  std::vector<Picture> panels;
  for (const Plane& plane : planes()) panels.push_back(around(plane, voxel, field_mm, height, content));
  return beside(panels, kPanelGap);
}

namespace {

Picture join(const std::vector<Picture>& panels, int gap, bool down) {
  int width = 0, height = 0, at = 0;
  for (const Picture& p : panels) {
    width = down ? std::max(width, p.width) : width + p.width + gap;
    height = down ? height + p.height + gap : std::max(height, p.height);
  }
  (down ? height : width) -= panels.empty() ? 0 : gap;
  Picture all(width, height, kBetweenPanels);
  for (const Picture& p : panels) {
    all.paste(p, down ? 0 : at, down ? at : 0);
    at += (down ? p.height : p.width) + gap;
  }
  return all;
}

}  // namespace

Picture beside(const std::vector<Picture>& panels, int gap) { return join(panels, gap, false); }
Picture below(const std::vector<Picture>& panels, int gap) { return join(panels, gap, true); }

}  // namespace metvox
