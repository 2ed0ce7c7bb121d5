// SPDX-License-Identifier: Apache-2.0
#include "io/volume.h"

#include <cmath>

#include "io_testing.h"

namespace metvox {
namespace {

Affine affine(std::array<std::array<double, 4>, 3> rows) {
  Affine a;
  std::copy(rows.begin(), rows.end(), a.m.begin());
  return a;
}

// Each voxel holds its world position, folded into one number.
template <class T>
Volume charted(const Geometry& g, DType dtype) {
  Volume v{Tensor::empty({g.shape[2], g.shape[1], g.shape[0]}, dtype), g, "", {}};
  T* x = v.voxels.data<T>();
  for (int64_t k = 0; k < g.shape[2]; ++k)
    for (int64_t j = 0; j < g.shape[1]; ++j)
      for (int64_t i = 0; i < g.shape[0]; ++i) {
        const auto p = g.affine({double(i), double(j), double(k)});
        *x++ = static_cast<T>(std::lround(p[0] + 7 * p[1] + 31 * p[2]));
      }
  return v;
}

const Geometry kRas = make_geometry({2, 3, 4}, affine({{{1, 0, 0, 5}, {0, 2, 0, -6}, {0, 0, 3, 7}}}));
// The same lattice, axes in the order S, R, A and the second one flipped.
const Geometry kSla = make_geometry({4, 2, 3}, affine({{{0, -1, 0, 6}, {0, 0, 2, -6}, {3, 0, 0, 7}}}));

}  // namespace

TEST(volume, inverse_undoes) {
  const Affine a = affine({{{0.1, -2, 0.3, 5}, {1.5, 0.2, 0.1, -6}, {0, 0.4, 3, 7}}});
  const auto back = a.inverse()(a({3, -4, 5}));
  EXPECT_NEAR(back[0], 3, 1e-14);
  EXPECT_NEAR(back[1], -4, 1e-14);
  EXPECT_NEAR(back[2], 5, 1e-14);
  EXPECT_TRUE(refused([] { affine({{{1, 2, 0, 0}, {2, 4, 0, 0}, {0, 0, 1, 0}}}).inverse(); }, "singular"));
  EXPECT_TRUE(refused([] { affine({{{1, NAN, 0, 0}, {2, 4, 0, 0}, {0, 0, 1, 0}}}).inverse(); }, "singular"));
}

TEST(volume, axes_are_the_nearest) {
  EXPECT_EQ(kRas.axes(), "RAS");
  EXPECT_EQ(kSla.axes(), "SLA");
  // Axis 0 leans to A by 40 degrees, axis 1 by 50: only one can be called A.
  const double c = std::cos(0.7), s = std::sin(0.7);
  EXPECT_EQ(make_geometry({1, 1, 1}, affine({{{c, -s, 0, 0}, {s, c, 0, 0}, {0, 0, -2, 0}}})).axes(), "RAI");
  Geometry bare = kRas;
  bare.qform_code = bare.sform_code = 0;
  EXPECT_EQ(bare.axes(), "unknown");
}

TEST(volume, make_geometry_fills_the_forms) {
  EXPECT_EQ(kSla.spacing_mm, (std::array<double, 3>{3, 1, 2}));
  EXPECT_EQ(kSla.qform_code, 1);
  EXPECT_EQ(kSla.srow[0], (std::array<double, 4>{0, -1, 0, 6}));
  const Geometry sheared = make_geometry({1, 1, 1}, affine({{{1, 0.1, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}}));
  EXPECT_EQ(sheared.qform_code, 0);
  EXPECT_EQ(sheared.sform_code, 1);
}

TEST(volume, same_grid_looks_at_corners) {
  Geometry moved = kRas;
  EXPECT_TRUE(same_grid(kRas, moved));
  moved.affine.m[1][1] += 0.0004;  // 0.0008 mm at the far corner
  EXPECT_TRUE(same_grid(kRas, moved));
  moved.affine.m[1][1] += 0.0004;
  EXPECT_FALSE(same_grid(kRas, moved));
  moved.affine.m[1][1] = NAN;
  EXPECT_FALSE(same_grid(kRas, moved));
  EXPECT_FALSE(same_grid(kRas, kSla));
}

TEST(volume, describe_is_one_line) {
  EXPECT_EQ(describe(kRas), "2x3x4 voxels of 1x2x3 mm, RAS, first voxel at (5, -6, 7)");
}

TEST(volume, onto_lattice_permutes_and_flips) {
  const Volume from = charted<float>(kSla, DType::f32), expected = charted<float>(kRas, DType::f32);
  const Tensor got = onto_lattice(from, kRas);
  ASSERT_EQ(got.shape(), (Shape{4, 3, 2}));
  for (int64_t n = 0; n < got.size(); ++n) EXPECT_EQ(got.data<float>()[n], expected.voxels.data<float>()[n]) << n;
  const Tensor bytes = onto_lattice(charted<uint8_t>(kRas, DType::u8), kSla);
  for (int64_t n = 0; n < bytes.size(); ++n)
    EXPECT_EQ(bytes.data<uint8_t>()[n], charted<uint8_t>(kSla, DType::u8).voxels.data<uint8_t>()[n]) << n;
}

TEST(volume, onto_lattice_shares_or_declines) {
  const Volume v = charted<float>(kRas, DType::f32);
  EXPECT_EQ(onto_lattice(v, kRas).view().data, v.voxels.view().data);
  Geometry shifted = kSla;
  shifted.affine.m[2][3] += 0.01;
  EXPECT_FALSE(onto_lattice(v, shifted));
  Geometry longer = kSla;
  longer.shape[0] += 1;
  EXPECT_FALSE(onto_lattice(v, longer));
  EXPECT_FALSE(onto_lattice(v, make_geometry({3, 2, 4}, kRas.affine)));
  const double c = std::sqrt(0.5);
  EXPECT_FALSE(
      onto_lattice(v, make_geometry({2, 3, 4}, affine({{{c, -2 * c, 0, 5}, {c, 2 * c, 0, -6}, {0, 0, 3, 7}}}))));
}

}  // namespace metvox
