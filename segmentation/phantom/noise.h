// SPDX-License-Identifier: Apache-2.0
// Smooth random fields in millimetres, and the blur of volumes.
#pragma once
#include <vector>

#include "segmentation/phantom/grid.h"

namespace metvox::phantom {

// A cubic B-spline whose coefficients are standard normal numbers on a lattice of knots: mean 0, standard deviation 1,
// as smooth as white noise after a Gaussian of 0.58 knot spacings. Points outside the box read its border.
class SmoothNoise {
 public:
  SmoothNoise(Random random, const Box& box, double knot_mm);

  double at(Point p) const { return sample(p, nullptr); }
  // The value; *gradient becomes its derivative by x, y, z, in 1 / mm.
  double sample(Point p, Point* gradient) const;

  // The field along the line of all x at one (y, z): a tenth of the cost of at().
  class Line {
   public:
    Line(const SmoothNoise& noise, double y, double z);
    float at(double x) const;

   private:
    double low_, per_mm_, last_;
    std::vector<float> knots_;
  };

 private:
  Point low_;
  double per_mm_;
  std::array<int, 3> knots_;
  std::vector<float> coefficient_;  // x fastest
};

// Gaussian of sigma[axis] voxels along each axis, cut at 3 sigma, borders repeated. Size in (x, y, z), x fastest.
void blur(std::vector<float>& image, const std::array<int64_t, 3>& size, const std::array<double, 3>& sigma);

}  // namespace metvox::phantom
