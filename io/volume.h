// SPDX-License-Identifier: Apache-2.0
// Volume: one scalar 3-D image with its place in the world. voxels has shape (z, y, x) with x (the file's first axis)
// fastest, so that the memory order is the file's.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace metvox {

// Index (i, j, k) along the file's axes to millimetres, world axes R, A, S.
struct Affine {
  std::array<std::array<double, 4>, 4> m{{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}};
  std::array<double, 3> operator()(const std::array<double, 3>& index) const;
  // Throws Error (Fault::input) when singular.
  Affine inverse() const;
};

// Where a volume lies: everything of a header that a mask on the same grid must repeat bit for bit.
struct Geometry {
  std::array<int64_t, 3> shape{};  // along the file's axes i, j, k
  std::array<double, 3> spacing_mm{1, 1, 1};
  Affine affine;
  // As they stand in the header, in its units, whether coded as valid or not:
  int qform_code = 0, sform_code = 0;
  std::array<double, 6> quatern{};  // b, c, d, offset x, y, z
  double qfac = 1;                  // pixdim[0]: below 0 flips the third axis, anything else does not
  std::array<std::array<double, 4>, 3> srow{};
  uint8_t xyzt_units = 2;
  int version = 1;  // NIfTI-1 or NIfTI-2
  // Where each axis points, such as "RAS": the nearest world axis, the best match first. "unknown" when both codes are
  // 0.
  std::string axes() const;
};

// A grid of our own making: spacing, sform and, where the axes are orthogonal, qform follow from the affine; codes 1.
Geometry make_geometry(const std::array<int64_t, 3>& shape, const Affine& affine);

struct Volume {
  Tensor voxels;  // (z, y, x)
  Geometry geometry;
  std::string dtype_on_disk;          // "int16", "float32", ...
  std::vector<std::string> warnings;  // sentences, such as the number of non-finite voxels
};

// How far apart two affines place the same voxel at most: that is at one of the eight corners.
double largest_corner_distance_mm(const std::array<int64_t, 3>& shape, const Affine& a, const Affine& b);
// Do both lie on the same grid: equal shape, and every corner within `tolerance_mm` of the other's?
bool same_grid(const Geometry& a, const Geometry& b, double tolerance_mm = 1e-3);
// One line: "240x240x155 voxels of 1x1x1 mm, LPS, first voxel at (…)".
std::string describe(const Geometry& g);
// v with its axes permuted and flipped onto the grid of `target`, any dtype; shares v's memory when nothing moves;
// empty Tensor when the two world lattices differ.
Tensor onto_lattice(const Volume& v, const Geometry& target, double tolerance_mm = 1e-3);

}  // namespace metvox
