// SPDX-License-Identifier: Apache-2.0
// Pictures of a case: slices through a point as a radiologist expects them (patient's right on the viewer's left,
// anterior or superior up), true to scale, a grey image with regions outlined as they are and as they were predicted.
#pragma once
#include "io/png.h"
#include "io/volume.h"
#include "segmentation/data/labels.h"

namespace metvox {

// Told apart by colour-blind readers too, and on grey.
constexpr Rgb kTruthColour{64, 180, 250}, kPredictionColour{255, 165, 0};

struct CaseVolumes {
  Tensor images;             // f32 (C, z, y, x)
  Tensor prediction, truth;  // u8 (z, y, x); either may be empty
  Geometry grid;             // of all three; axes without codes are taken as R, A, S
};

// A colour laid over the image: as opaque as `share` f32 (z, y, x), from 0 to 1, says.
struct Tint {
  Tensor share;
  Rgb colour{};
};

// What a slice shows: a sequence, the regions outlined on it (none: the image alone), a few words in the corner, tints
// below the outlines.
struct SliceContent {
  int64_t image = 0;
  std::vector<LabelTarget> outlined;
  std::string name;
  std::vector<Tint> tints = {};
  bool through =
      false;  // the highest values along the line of sight, not those of one slice; outlines are of the slice
};

class SlicePainter {
 public:
  explicit SlicePainter(const CaseVolumes& volumes);

  int superior_axis() const { return axis_[2]; }  // 0 z, 1 y, 2 x: along which axial slices follow each other

  // Axial, coronal and sagittal slices through a voxel (z, y, x), side by side, each `height` pixels tall, with the
  // letters of the sides.
  Picture three_planes(const Double3& voxel, int height, const SliceContent& content) const;
  Picture axial(const Double3& voxel, int height, const SliceContent& content) const;
  // `field_mm` around the voxel, height = width: axial, and all three planes side by side.
  Picture close_up(const Double3& voxel, double field_mm, int height, const SliceContent& content) const;
  Picture close_up_planes(const Double3& voxel, double field_mm, int height, const SliceContent& content) const;

 private:
  // World axes 0 R, 1 A, 2 S. A plane's columns run towards -across, its rows towards -down.
  struct Plane {
    int across, down, normal;
    std::string left, right;
  };
  struct Window {
    double left_mm, top_mm;  // world coordinate of the first column, of the first row
    double normal_mm;        // of the slice
    double mm_per_pixel;
    int width, height;
  };
  struct Levels {
    float black, white;
  };
  // Axial, coronal, sagittal.
  static std::array<Plane, 3> planes() {
    return {Plane{0, 1, 2, "R", "L"}, Plane{0, 2, 1, "R", "L"}, Plane{1, 2, 0, "A", "P"}};
  }
  double world(const Double3& voxel, int axis) const;
  double index(double world_mm, int axis) const;
  Double3 voxel_at(const Plane& plane, const Window& window, int column, int row) const;
  Picture paint(const Plane& plane, const Window& window, const SliceContent& content) const;
  Picture whole(const Plane& plane, const Double3& voxel, int height, const SliceContent& content) const;
  Picture around(const Plane& plane, const Double3& voxel, double field_mm, int height,
                 const SliceContent& content) const;
  template <class ValueAt>
  float look(const Double3& voxel, int normal_axis, float outside, bool through, ValueAt value_at) const;
  double mm_per_pixel(int height) const;
  void outline(Picture& picture, const Plane& plane, const Window& window, const Tensor& labels,
               const LabelTarget& region, Rgb colour, double width_px) const;
  template <class ValueAt>
  float sample(const Double3& voxel, int normal_axis, float outside, ValueAt value_at) const;
  void find_head();

  const CaseVolumes& volumes_;
  std::array<int, 3> axis_{};                     // the volume's (z, y, x) axis nearest to each world axis
  std::array<double, 3> sign_{};                  // does its index grow along it?
  std::array<double, 3> first_mm_{}, last_mm_{};  // of the head along each world axis, index times spacing
  std::vector<Levels> levels_;                    // of each image: what is drawn black and white
};

// Side by side, and below each other.
constexpr int kPanelGap = 4;
constexpr Rgb kBetweenPanels{40, 44, 52};
Picture beside(const std::vector<Picture>& panels, int gap);
Picture below(const std::vector<Picture>& panels, int gap);

}  // namespace metvox
