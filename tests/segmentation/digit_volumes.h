// SPDX-License-Identifier: Apache-2.0
// Label volumes of golden files, a digit a voxel, and numbers that may be undefined there.
#pragma once
#include <gtest/gtest.h>

#include <cmath>

#include "io/json.h"
#include "io/nifti.h"

namespace metvox {

// Voxels of 2 x 1.5 x 1 mm (z, y, x), as the golden cases.
inline Geometry grid_of(const Shape& shape) {
  return make_geometry({shape[2], shape[1], shape[0]},
                       Affine{{{{1, 0, 0, 0}, {0, 1.5, 0, 0}, {0, 0, 2, 0}, {0, 0, 0, 1}}}});
}

inline Tensor from_digits(const std::string& digits, const Shape& shape) {
  const Tensor t = Tensor::empty(shape, DType::u8);
  for (int64_t i = 0; i < t.size(); ++i)
    t.data<uint8_t>()[i] = static_cast<uint8_t>(digits.at(static_cast<size_t>(i)) - '0');
  return t;
}

inline void write_labels(const Path& path, const std::string& digits, const Shape& shape) {
  write_nifti(path, from_digits(digits, shape), grid_of(shape));
}

// A number, or the null of one that is not.
inline void expect_number(double found, const Json& expected, const std::string& what) {
  if (expected.is_null()) EXPECT_TRUE(std::isnan(found)) << what;
  else EXPECT_NEAR(found, expected.get<double>(), 1e-12 * std::max(1.0, std::abs(found))) << what;
}

}  // namespace metvox
