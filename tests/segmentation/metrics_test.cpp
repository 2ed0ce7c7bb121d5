// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/metrics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "segmentation/evaluation/lesions.h"

namespace metvox {

namespace {

Tensor labels(std::initializer_list<int> values, const Shape& shape) {
  Tensor t = Tensor::empty(shape, DType::u8);
  std::copy(values.begin(), values.end(), t.data<uint8_t>());
  return t;
}

Tensor mask_with(const Shape& shape, const std::vector<std::pair<Int3, Int3>>& boxes) {
  Tensor t = Tensor::zeros(shape, DType::u8);
  for (const auto& [first, last] : boxes)
    for (int64_t z = first[0]; z < last[0]; ++z)
      for (int64_t y = first[1]; y < last[1]; ++y)
        for (int64_t x = first[2]; x < last[2]; ++x) t.data<uint8_t>()[(z * shape[1] + y) * shape[2] + x] = 1;
  return t;
}

}  // namespace

TEST(metrics, counts_of_regions_by_hand) {
  const Tensor prediction = labels({0, 1, 2, 3, 3, 0, 2, 1}, {2, 2, 2});
  const Tensor truth = labels({0, 1, 3, 3, 2, 1, 0, 3}, {2, 2, 2});
  const LabelPairs pairs(prediction, truth);
  const auto regions = metastasis_regions();
  const Counts et = pairs.counts(regions[0]);
  EXPECT_EQ((std::array<int64_t, 4>{et.tp, et.fp, et.fn, et.tn}), (std::array<int64_t, 4>{1, 1, 2, 4}));
  EXPECT_DOUBLE_EQ(et.dice(), 2.0 / 5);
  EXPECT_DOUBLE_EQ(et.iou(), 1.0 / 4);
  EXPECT_DOUBLE_EQ(et.sensitivity(), 1.0 / 3);
  EXPECT_DOUBLE_EQ(et.specificity(), 4.0 / 5);
  const Counts tc = pairs.counts(regions[1]);
  EXPECT_EQ((std::array<int64_t, 4>{tc.tp, tc.fp, tc.fn, tc.tn}), (std::array<int64_t, 4>{3, 1, 2, 2}));
  const Counts wt = pairs.counts(regions[2]);
  EXPECT_EQ((std::array<int64_t, 4>{wt.tp, wt.fp, wt.fn, wt.tn}), (std::array<int64_t, 4>{5, 1, 1, 1}));
  EXPECT_EQ(wt.predicted(), 6);
  EXPECT_EQ(wt.truth(), 6);
}

TEST(metrics, ignored_voxels_count_nowhere) {
  const LabelPairs pairs(labels({1, 1, 0, 0}, {1, 2, 2}), labels({1, 4, 4, 0}, {1, 2, 2}));
  const Counts c = pairs.counts({"a", {1}}, 4);
  EXPECT_EQ((std::array<int64_t, 4>{c.tp, c.fp, c.fn, c.tn}), (std::array<int64_t, 4>{1, 0, 0, 1}));
}

TEST(metrics, nothing_over_nothing_is_nan) {
  const Tensor none = Tensor::zeros({2, 2, 2}, DType::u8);
  const Counts c = LabelPairs(none, none).counts({"et", {3}});
  EXPECT_TRUE(std::isnan(c.dice()));
  EXPECT_TRUE(std::isnan(c.iou()));
  EXPECT_TRUE(std::isnan(c.sensitivity()));
  EXPECT_EQ(c.specificity(), 1);
}

TEST(metrics, region_mask_joins_labels) {
  const Tensor mask = region_mask(labels({0, 1, 2, 3}, {1, 2, 2}), {"tc", {1, 3}});
  EXPECT_EQ(std::vector<uint8_t>(mask.data<uint8_t>(), mask.data<uint8_t>() + 4), (std::vector<uint8_t>{0, 1, 0, 1}));
}

TEST(metrics, components_touch_by_corners) {
  Tensor mask = mask_with({4, 5, 6}, {{{0, 0, 0}, {1, 1, 2}}, {{1, 1, 2}, {2, 2, 3}}, {{3, 4, 5}, {4, 5, 6}}});
  const Components found = find_components(mask);
  ASSERT_EQ(found.components.size(), 2u);
  EXPECT_EQ(found.components[0].voxels, 3);
  EXPECT_EQ(found.components[0].first, (Int3{0, 0, 0}));
  EXPECT_EQ(found.components[0].last, (Int3{2, 2, 3}));
  EXPECT_DOUBLE_EQ(found.components[0].centre[2], 1);
  EXPECT_EQ(found.components[1].voxels, 1);
  EXPECT_EQ(found.index.data<int32_t>()[mask.size() - 1], 2);
}

// A U lying on its side: two arms that meet only at the end get one number, however they are scanned.
TEST(metrics, components_that_meet_late_are_one) {
  const Components arms = find_components(mask_with(
      {1, 5, 9}, {{{0, 0, 0}, {1, 1, 9}}, {{0, 4, 0}, {1, 5, 9}}, {{0, 1, 8}, {1, 4, 9}}, {{0, 2, 0}, {1, 3, 7}}}));
  ASSERT_EQ(arms.components.size(), 2u);
  EXPECT_EQ(arms.components[0].voxels, 21);
  EXPECT_EQ(arms.components[1].voxels, 7);
}

TEST(metrics, lesions_are_matched_by_overlap) {
  const Shape shape{12, 12, 12};
  const Tensor truth = mask_with(shape, {{{0, 0, 0}, {2, 2, 2}}, {{4, 4, 4}, {6, 6, 6}}, {{9, 9, 9}, {10, 10, 10}}});
  // Two predictions on the first lesion, none on the second, one on the third, one far from all.
  const Tensor prediction = mask_with(
      shape, {{{0, 0, 0}, {1, 1, 1}}, {{0, 0, 1}, {1, 1, 2}}, {{9, 9, 9}, {10, 10, 11}}, {{0, 9, 0}, {1, 10, 2}}});
  Geometry grid = make_geometry({12, 12, 12}, Affine{{{{-2, 0, 0, 5}, {0, 1, 0, 0}, {0, 0, 1, -3}, {0, 0, 0, 1}}}});
  PairDistances distances({1, 1, 2});
  const auto lesions = match_lesions({prediction, truth}, grid, distances);
  ASSERT_EQ(lesions.size(), 4u);
  EXPECT_EQ(lesions[0].kind, LesionKind::matched);
  EXPECT_EQ(lesions[0].overlap_voxels, 2);
  EXPECT_DOUBLE_EQ(lesions[0].dice, 2.0 * 2 / (8 + 2));
  EXPECT_EQ(lesions[1].kind, LesionKind::missed);
  EXPECT_DOUBLE_EQ(lesions[1].volume_mm3, 16);
  EXPECT_NEAR(lesions[1].diameter_mm, 3.12637, 5e-6);  // (6 * 16 / pi)^(1/3)
  EXPECT_EQ(lesions[1].dice, 0);
  EXPECT_DOUBLE_EQ(lesions[1].centre_mm[0], 5 - 2 * 4.5);
  EXPECT_DOUBLE_EQ(lesions[1].centre_mm[2], 4.5 - 3);
  EXPECT_DOUBLE_EQ(lesions[2].dice, 2.0 * 1 / (1 + 2));
  EXPECT_EQ(lesions[3].kind, LesionKind::false_positive);
  EXPECT_EQ(lesions[3].voxels, 2);
}

}  // namespace metvox
