// SPDX-License-Identifier: Apache-2.0
// Pictures of a case: slices through a point as a radiologist expects them (patient's right on the viewer's left,
// anterior or superior up), true to scale, grey image, prediction filled, truth outlined.
#pragma once
#include "io/png.h"
#include "io/volume.h"

namespace metvox {

// Colours of labels 1 (NETC), 2 (SNFH), 3 (ET); others repeat them.
Rgb label_colour(int label);

struct CaseVolumes {
  Tensor image;              // f32 (z, y, x)
  Tensor prediction, truth;  // u8 (z, y, x); either may be empty
  Geometry grid;             // of all three; axes without codes are taken as R, A, S
};

class SlicePainter {
 public:
  explicit SlicePainter(const CaseVolumes& volumes);

  // Axial, coronal and sagittal slices through a voxel (z, y, x), side by side, each `height` pixels tall, with the
  // letters of the sides.
  Picture three_planes(const Double3& voxel, int height) const;
  Picture axial(const Double3& voxel, int height) const;
  // Axial, `field_mm` around the voxel, height = width.
  Picture close_up(const Double3& voxel, double field_mm, int height) const;

 private:
  // World axes 0 R, 1 A, 2 S. A plane's columns run towards -across, its rows towards -down.
  struct Plane {
    int across, down, normal;
    std::string left, right;
  };
  struct Window {
    double left_mm, top_mm;  // world coordinate of the first column, of the first row
    double mm_per_pixel;
    int width, height;
  };
  double world(const Double3& voxel, int axis) const;
  double index(double world_mm, int axis) const;
  Picture paint(const Plane& plane, const Window& window, double normal_mm) const;
  Picture whole(const Plane& plane, const Double3& voxel, double mm_per_pixel, int height) const;
  float grey(const Double3& voxel, int normal_axis) const;
  int label(const Tensor& labels, const Double3& voxel) const;

  const CaseVolumes& volumes_;
  std::array<int, 3> axis_{};                     // the volume's (z, y, x) axis nearest to each world axis
  std::array<double, 3> sign_{};                  // does its index grow along it?
  std::array<double, 3> first_mm_{}, last_mm_{};  // of the head along each world axis, index times spacing
  float black_ = 0, white_ = 1;
};

}  // namespace metvox
