// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/detection.h"

#include "lesion_cases.h"
#include "segmentation/evaluation/agreement.h"
#include "segmentation/evaluation/froc.h"

namespace metvox {

namespace {

Lesion lesion(LesionKind kind, double ball_mm, double longest_mm) {
  Lesion l;
  l.kind = kind;
  l.diameter_mm = ball_mm;
  l.axial.longest_mm = longest_mm;
  return l;
}

constexpr auto kFound = LesionKind::matched, kMissed = LesionKind::missed, kFalse = LesionKind::false_positive;

Tensor probabilities(const Int3& n, const std::vector<std::pair<Int3, float>>& voxels) {
  Tensor p = Tensor::zeros({n[0], n[1], n[2]}, DType::f32);
  for (const auto& [at, value] : voxels) p.data<float>()[(at[0] * n[1] + at[1]) * n[2] + at[2]] = value;
  return p;
}

const FrocPoint& at_threshold(const Froc& froc, double threshold) {
  return *std::find_if(froc.points.begin(), froc.points.end(),
                       [&](const FrocPoint& p) { return p.threshold == threshold; });
}

}  // namespace

TEST(detection, lesions_are_counted_by_size) {
  const Detection d = detection_by_size({{lesion(kFound, 2, 3), lesion(kMissed, 4, 4), lesion(kFalse, 11, 12)},
                                         {lesion(kFound, 6, 9), lesion(kFound, 12, 10)},
                                         {lesion(kFalse, 2, 2), lesion(kFalse, 3, 4)},
                                         {}},
                                        LesionSize::longest_axial);
  ASSERT_EQ(d.bins.size(), 4u);
  EXPECT_EQ(d.bins[0].lesions, 0);
  EXPECT_EQ(d.bins[0].false_positives, 1);
  EXPECT_TRUE(std::isnan(d.bins[0].recall()));
  EXPECT_TRUE(std::isnan(d.bins[0].recall_interval().low));
  EXPECT_EQ(d.bins[1].lesions, 2);  // from 3 mm, below 5 mm
  EXPECT_EQ(d.bins[1].found, 1);
  EXPECT_EQ(d.bins[1].false_positives, 1);
  EXPECT_DOUBLE_EQ(d.bins[1].precision(), .5);
  EXPECT_DOUBLE_EQ(d.bins[1].f1(), .5);
  EXPECT_EQ(d.bins[3].found, 1);
  EXPECT_EQ(d.all.lesions, 4);
  EXPECT_EQ(d.all.found, 3);
  // Wilson for 3 of 4: statsmodels.stats.proportion.proportion_confint(3, 4, method="wilson").
  EXPECT_NEAR(d.all.recall_interval().low, .3006418423, 5e-10);
  EXPECT_NEAR(d.all.recall_interval().high, .9544127392, 5e-10);
  EXPECT_DOUBLE_EQ(d.false_positives_mean, 3. / 4);
  EXPECT_DOUBLE_EQ(d.false_positives_median, .5);
  EXPECT_EQ(d.cases_with_lesions, 2);
  EXPECT_EQ(d.cases_all_found, 1);
  EXPECT_DOUBLE_EQ(d.recall_per_case, .75);
  const Detection ball = detection_by_size({{lesion(kFound, 2, 3)}}, LesionSize::ball);
  EXPECT_EQ(ball.bins[0].found, 1);
}

TEST(detection, froc_counts_at_each_threshold) {
  const Int3 n{3, 4, 12};
  const Tensor truth = paint_boxes(n, {{{0, 0, 0}, {1, 1, 2}}, {{2, 3, 11}, {3, 4, 12}}});
  // The first lesion up to .8, a false one beside it up to .4 that melts into it below .3, another at .97.
  const Tensor p = probabilities(
      n,
      {{{0, 0, 0}, .6f}, {{0, 0, 1}, .8f}, {{0, 0, 2}, .25f}, {{0, 0, 3}, .4f}, {{0, 3, 6}, .97f}, {{2, 3, 11}, .15f}});
  Froc froc;
  froc.add(p, truth);
  EXPECT_EQ(froc.lesions, 2);
  const auto expect = [&](double threshold, int64_t found, int64_t false_positives) {
    const FrocPoint& point = at_threshold(froc, threshold);
    EXPECT_EQ(point.found, found) << threshold;
    EXPECT_EQ(point.false_positives, false_positives) << threshold;
  };
  expect(.1, 2, 1);
  expect(.2, 1, 1);
  expect(.3, 1, 2);
  expect(.5, 1, 1);
  expect(.8, 1, 1);
  expect(.9, 0, 1);
  expect(.98, 0, 0);
  froc.add(probabilities(n, {}), paint_boxes(n, {}));
  EXPECT_EQ(froc.cases, 2);
  EXPECT_DOUBLE_EQ(froc.false_positives_per_case(at_threshold(froc, .3)), 1);
  EXPECT_DOUBLE_EQ(froc.recall(at_threshold(froc, .3)), .5);
}

TEST(detection, probability_of_a_region_comes_from_its_head_or_its_labels) {
  Tensor heads = Tensor::empty({3, 1, 1, 2}, DType::f32);
  std::iota(heads.data<float>(), heads.data<float>() + 6, 1.f);
  const Labels regions = Labels::from_json(
      Json::parse(
          R"({"labels": {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": 3}, "regions_class_order": [2, 1, 3]})"),
      "test");
  EXPECT_EQ(region_probability(heads, regions, {"tc", {1, 3}}).data<float>()[0], 3);
  EXPECT_FALSE(region_probability(heads, regions, {"netc", {1}}));
  const Labels labels = Labels::from_json(Json::parse(R"({"labels": {"background": 0, "a": 1, "b": 2}})"), "test");
  EXPECT_EQ(region_probability(heads, labels, {"both", {2, 1}}).data<float>()[1], 4 + 6);
  EXPECT_FALSE(region_probability(heads, labels, {"more", {1, 3}}));
}

// numpy: differences, variances by n, pingouin 0.5's formula of ICC2 by hand.
TEST(detection, agreement_by_hand) {
  const std::vector<double> truth{1, 2, 3, 4}, predicted{2, 2, 4, 6};
  const Agreement a = agreement(truth, predicted);
  EXPECT_EQ(a.n, 4);
  EXPECT_DOUBLE_EQ(a.bias, 1);
  EXPECT_DOUBLE_EQ(a.spread, std::sqrt(2. / 3));
  EXPECT_NEAR(a.limits.low, 1 - 1.959963984540054 * std::sqrt(2. / 3), 1e-12);
  // Sums of squares 5 and 11, of products 7: 2 * 7 / (5 + 11 + 4).
  EXPECT_DOUBLE_EQ(a.concordance, .7);
  // Rows: means 1.5, 2, 3.5, 5 around 3: MSR = 2 * 7.5 / 3 = 5; MSC = 2; MSE = 1 / 3.
  EXPECT_DOUBLE_EQ(a.icc, (5 - 1. / 3) / (5 + 1. / 3 + 2 * (2 - 1. / 3) / 4));
  const Agreement same = agreement(truth, truth);
  EXPECT_DOUBLE_EQ(same.concordance, 1);
  EXPECT_DOUBLE_EQ(same.icc, 1);
  EXPECT_EQ(agreement({}, {}).n, 0);
  EXPECT_TRUE(std::isnan(agreement({}, {}).bias));
}

TEST(detection, kappa_by_hand) {
  EXPECT_DOUBLE_EQ(cohen_kappa(20, 5, 10, 15), .4);  // 0.7 observed, 0.5 by chance
  EXPECT_EQ(cohen_kappa(3, 0, 0, 4), 1);
  EXPECT_TRUE(std::isnan(cohen_kappa(3, 0, 0, 0)));
}

}  // namespace metvox
