// SPDX-License-Identifier: Apache-2.0
// read_nifti_labels(): which numbers are labels, and every type that they may be written in.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "io/nifti.h"
#include "io_testing.h"

namespace metvox {
namespace {

Geometry geometry_of(const std::array<int64_t, 3>& shape) {
  Geometry g;
  g.shape = shape;
  return g;
}

template <class T>
void convert_labels(const Tensor& labels, const Tensor& voxels) {
  std::copy_n(labels.data<uint8_t>(), labels.size(), voxels.data<T>());
}

}  // namespace

TEST(nifti_labels, are_rounded_and_bounded) {
  Scratch scratch;
  Tensor voxels = Tensor::zeros({2, 3, 4}, DType::f32);
  voxels.data<float>()[5] = 0.9999f;
  voxels.data<float>()[6] = 255;
  write_nifti(scratch / "a.nii", voxels, geometry_of({4, 3, 2}));
  const Volume labels = read_nifti_labels(scratch / "a.nii");
  EXPECT_EQ(labels.voxels.data<uint8_t>()[5], 1);
  EXPECT_EQ(labels.voxels.data<uint8_t>()[6], 255);
  for (float bad : {0.5f, -1.0f, 256.0f, 1e30f, NAN}) {
    voxels.data<float>()[17] = bad;
    write_nifti(scratch / "a.nii", voxels, geometry_of({4, 3, 2}));
    EXPECT_TRUE(refused([&] { read_nifti_labels(scratch / "a.nii"); },
                        sentence("a.nii: 1 voxel holds no label, a whole number from 0 to 255, but ", bad,
                                 "; the first is (1, 1, 1); write the labels again")));
  }
  voxels.data<float>()[3] = 2.5f;
  voxels.data<float>()[4] = 2.5f;
  EXPECT_TRUE(refused(
      [&] {
        write_nifti(scratch / "a.nii", voxels, geometry_of({4, 3, 2}));
        read_nifti_labels(scratch / "a.nii");
      },
      "3 voxels hold no label, a whole number from 0 to 255, but 2.5, nan; the first is (3, 0, 0)"));
}

// Of more than one chunk, of every kind of number.
TEST(nifti_labels, of_every_type_are_read) {
  Scratch scratch;
  const Shape shape{50, 60, 70};
  for (const DType type : {DType::u8, DType::i16, DType::i32, DType::f32}) {
    Tensor labels = Tensor::zeros(shape, DType::u8), voxels = Tensor::zeros(shape, type);
    for (int64_t i = 0; i < labels.size(); ++i) labels.data<uint8_t>()[i] = static_cast<uint8_t>(i * i / 1000);
    if (type == DType::u8) voxels = labels;
    else if (type == DType::f32) convert_labels<float>(labels, voxels);
    else if (type == DType::i16) convert_labels<int16_t>(labels, voxels);
    else convert_labels<int32_t>(labels, voxels);
    write_nifti(scratch / "a.nii", voxels, geometry_of({70, 60, 50}));
    const Volume read = read_nifti_labels(scratch / "a.nii");
    EXPECT_EQ(std::memcmp(read.voxels.view().data, labels.view().data, labels.bytes()), 0) << name_of(type);
  }
}

}  // namespace metvox
