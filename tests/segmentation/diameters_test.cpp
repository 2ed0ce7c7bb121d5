// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/diameters.h"

#include "lesion_cases.h"

namespace metvox {

namespace {

Diameters of_ball(int64_t squared_radius, int normal = 0) {
  Tensor t = Tensor::zeros({17, 17, 17}, DType::u8);
  for (int64_t z = -8; z <= 8; ++z)
    for (int64_t y = -8; y <= 8; ++y)
      for (int64_t x = -8; x <= 8; ++x)
        t.data<uint8_t>()[((z + 8) * 17 + y + 8) * 17 + x + 8] = x * x + y * y + z * z <= squared_radius;
  return axial_diameters(t, normal, {1, 1, 1});
}

}  // namespace

TEST(diameters, balls_by_hand) {
  for (int normal = 0; normal < 3; ++normal) {
    const Diameters six = of_ball(36, normal);
    EXPECT_EQ(six.longest_centres_mm, 12);
    EXPECT_NEAR(six.longest_mm, 13.0384, 5e-5);
    EXPECT_EQ(six.slices, 13);
    EXPECT_GT(six.perpendicular_mm, 12);
    EXPECT_LE(six.perpendicular_mm, six.longest_mm);
    EXPECT_TRUE(six.measurable());
  }
  EXPECT_EQ(of_ball(25).longest_centres_mm, 10);
  EXPECT_NEAR(of_ball(25).longest_mm, 11.4018, 5e-5);
  EXPECT_TRUE(of_ball(25).measurable());
  EXPECT_EQ(of_ball(16).longest_centres_mm, 8);
  EXPECT_NEAR(of_ball(16).longest_mm, 9.0554, 5e-5);
  EXPECT_FALSE(of_ball(16).measurable());
}

// 12 x 4 mm in the plane: the line across the diagonal is 4.216 mm, so that it cannot be measured.
TEST(diameters, a_flat_box_by_hand) {
  const Tensor box = paint_boxes({5, 9, 16}, {{{1, 2, 2}, {4, 6, 14}}});
  const Diameters d = axial_diameters(box, 0, {1, 1, 1});
  EXPECT_NEAR(d.longest_mm, std::sqrt(160.), 1e-12);
  EXPECT_NEAR(d.perpendicular_mm, 4.2164, 5e-5);
  EXPECT_EQ(d.slices, 3);
  EXPECT_FALSE(d.measurable());
}

// The same in half as large voxels along x and twice as large ones along y.
TEST(diameters, voxels_need_not_be_cubes) {
  const Tensor box = paint_boxes({5, 9, 30}, {{{1, 2, 2}, {4, 4, 26}}});
  const Diameters d = axial_diameters(box, 0, {3, 2, .5});
  EXPECT_NEAR(d.longest_mm, std::sqrt(160.), 1e-12);
  EXPECT_NEAR(d.perpendicular_mm, 4.2164, 5e-5);
}

// The line across ends at the hole of a ring.
TEST(diameters, the_line_across_stays_inside) {
  const Tensor u = paint_boxes({2, 8, 14}, {{{0, 0, 0}, {2, 2, 14}}, {{0, 6, 0}, {2, 8, 14}}, {{0, 0, 0}, {2, 8, 1}}});
  const Diameters d = axial_diameters(u, 0, {1, 1, 1});
  EXPECT_NEAR(d.longest_mm, std::sqrt(14. * 14 + 8 * 8), 1e-12);
  EXPECT_LT(d.perpendicular_mm, 5);
}

// Two diagonals of 6 x 12 are as long; the lesion lies across one of them, along a line of 6 by 3.
TEST(diameters, of_equal_longest_lines_the_best_one_is_crossed) {
  for (const bool mirrored : {false, true}) {
    std::vector<PaintedBox> boxes;
    const auto add = [&](int64_t u, int64_t v, int64_t width) {
      boxes.push_back(mirrored ? PaintedBox{{0, u, 12 - v - width}, {1, u + 1, 12 - v}}
                               : PaintedBox{{0, u, v}, {1, u + 1, v + width}});
    };
    for (const int64_t u : {0, 5})
      for (const int64_t v : {0, 11}) add(u, v, 1);
    for (int64_t u = 0; u < 6; ++u) add(u, 4 + u / 2, 2);
    const Diameters d = axial_diameters(paint_boxes({1, 6, 12}, boxes), 0, {1, 1, 1});
    EXPECT_NEAR(d.longest_mm, std::sqrt(180.), 1e-12);
    EXPECT_NEAR(d.perpendicular_mm, std::sqrt(45.), 1e-9) << mirrored;
  }
}

// A staircase at 45 degrees lets lines through on 0.7 mm; those a whole voxel apart would pass it by.
TEST(diameters, lines_across_are_quarters_of_a_voxel_apart) {
  std::vector<PaintedBox> boxes{{{0, 0, 0}, {1, 1, 1}}, {{0, 11, 11}, {1, 12, 12}}};
  for (int64_t u = 2; u < 6; ++u) boxes.push_back({{0, u, 7 - u}, {1, u + 1, 9 - u}});
  const Diameters d = axial_diameters(paint_boxes({1, 12, 12}, boxes), 0, {1, 1, 1});
  EXPECT_NEAR(d.longest_mm, std::sqrt(288.), 1e-12);
  EXPECT_NEAR(d.perpendicular_mm, std::sqrt(32.), 1e-9);
}

TEST(diameters, one_voxel_and_nothing) {
  const Diameters one = axial_diameters(paint_boxes({3, 3, 3}, {{{1, 1, 1}, {2, 2, 2}}}), 0, {1, 1, 1});
  EXPECT_NEAR(one.longest_mm, std::sqrt(2.), 1e-12);
  EXPECT_EQ(one.longest_centres_mm, 0);
  EXPECT_EQ(one.slices, 1);
  const Diameters none = axial_diameters(paint_boxes({3, 3, 3}, {}), 0, {1, 1, 1});
  EXPECT_EQ(none.longest_mm, 0);
  EXPECT_EQ(none.slices, 0);
}

TEST(diameters, slices_lie_across_the_feet_head_axis) {
  EXPECT_EQ(axial_normal(make_geometry({4, 4, 4}, Affine{})), 0);
  // File axes A, S, R.
  EXPECT_EQ(axial_normal(make_geometry({4, 4, 4}, Affine{{{{0, 0, 2, 0}, {1, 0, 0, 0}, {0, -5, 0, 0}, {0, 0, 0, 1}}}})),
            1);
}

// Of seven enhancing lesions one is too small; the sum is over the five largest. One without enhancement is none.
TEST(diameters, target_lesions_are_the_five_largest) {
  std::vector<PaintedBox> boxes;
  double expected = 0;
  for (int64_t i = 0; i < 7; ++i) {
    const int64_t width = i == 6 ? 4 : 8 + i;  // 8 x 8 up to 13 x 8
    boxes.push_back({{0, 10 * i, 0}, {2, 10 * i + 8, width}, 3});
    if (i >= 1 && i < 6) expected += std::sqrt(static_cast<double>(width * width + 64));
  }
  const Tensor enhancing = paint_boxes({4, 80, 20}, boxes);
  boxes.push_back({{0, 70, 0}, {3, 80, 20}, 1});
  const Tensor core = paint_boxes({4, 80, 20}, boxes);
  Tensor core_mask = core.clone(), enhancing_mask = enhancing.clone();
  for (Tensor* t : {&core_mask, &enhancing_mask})
    for (int64_t i = 0; i < t->size(); ++i) t->data<uint8_t>()[i] = t->data<uint8_t>()[i] != 0;
  const TargetLesions targets = target_lesions(core_mask, enhancing_mask, make_geometry({20, 80, 4}, Affine{}));
  EXPECT_EQ(targets.measurable, 6);
  EXPECT_NEAR(targets.sum_mm, expected, 1e-9);
}

}  // namespace metvox
