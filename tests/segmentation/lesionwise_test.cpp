// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/lesionwise.h"

#include "lesion_cases.h"
#include "segmentation/evaluation/surface.h"

namespace metvox {

namespace {

const LabelTarget kCore{"tc", {1, 3}}, kEnhancing{"et", {3}};

// Boxes given as (x, y, z) in a volume of 32 voxels each way.
Tensor volume_32(const std::vector<PaintedBox>& boxes) {
  std::vector<PaintedBox> turned;
  for (const PaintedBox& b : boxes)
    turned.push_back({{b.first[2], b.first[1], b.first[0]}, {b.last[2], b.last[1], b.last[0]}, b.label});
  return paint_boxes({32, 32, 32}, turned);
}

// A with a voxel two further, B, C, and one voxel D, which is too small to count.
Tensor vector_truth() {
  return volume_32({{{4, 4, 4}, {8, 8, 8}},
                    {{9, 5, 5}, {10, 6, 6}},
                    {{20, 20, 20}, {23, 23, 23}},
                    {{4, 24, 4}, {6, 26, 6}},
                    {{28, 4, 28}, {29, 5, 29}}});
}
// On A; a voxel in the halo of C; two others.
Tensor vector_prediction() {
  return volume_32(
      {{{5, 4, 4}, {9, 8, 8}}, {{6, 24, 4}, {7, 25, 5}}, {{15, 6, 20}, {18, 8, 22}}, {{25, 25, 5}, {26, 26, 6}}});
}

LesionwiseScores score(const Tensor& prediction, const Tensor& truth, const LabelTarget& region,
                       const LesionwiseRules& rules, const Double3& spacing_mm) {
  PairDistances distances(spacing_mm);
  return lesionwise_scores(prediction, truth, region, rules, distances);
}

const LesionwiseLesion& of_volume(const LesionwiseScores& s, double mm3) {
  for (const LesionwiseLesion& l : s.lesions)
    if (l.volume_mm3 == mm3) return l;
  throw std::runtime_error("no lesion of this volume");
}

}  // namespace

TEST(lesionwise, rules_of_2023_by_hand) {
  const LesionwiseScores s = score(vector_prediction(), vector_truth(), kCore, rules_2023(), {1, 1, 1});
  ASSERT_EQ(s.lesions.size(), 4u);
  const LesionwiseLesion &a = of_volume(s, 65), &b = of_volume(s, 27), &c = of_volume(s, 8), &d = of_volume(s, 1);
  EXPECT_EQ(a.hits, 1);
  EXPECT_NEAR(a.dice, .7441860, 5e-8);
  EXPECT_EQ(a.hd95_mm, 1);
  EXPECT_EQ(c.hits, 1);  // in its halo alone
  EXPECT_EQ(c.dice, 0);
  EXPECT_NEAR(c.hd95_mm, 2.2360680, 5e-8);
  EXPECT_EQ(b.hits, 0);
  EXPECT_EQ(b.hd95_mm, 374);
  EXPECT_FALSE(d.counted);
  EXPECT_EQ((std::array<int64_t, 3>{s.tp, s.fn, s.fp}), (std::array<int64_t, 3>{2, 1, 2}));
  EXPECT_NEAR(s.dice, .1488372, 5e-8);
  EXPECT_NEAR(s.hd95_mm, 225.0472136, 5e-8);
}

TEST(lesionwise, rules_of_2024_by_hand) {
  const LesionwiseScores s = score(vector_prediction(), vector_truth(), kCore, rules_2024(), {1, 1, 1});
  EXPECT_EQ(of_volume(s, 8).hits, 0);  // a predicted voxel alone is left out
  EXPECT_EQ((std::array<int64_t, 3>{s.tp, s.fn, s.fp}), (std::array<int64_t, 3>{1, 2, 1}));
  EXPECT_NEAR(s.dice, .1860465, 5e-8);
  EXPECT_NEAR(s.hd95_mm, 280.75, 5e-8);
}

// Two enhancing pieces at the two ends of one core are one lesion in 2024, and two in 2023; nothing joins them in tc's
// own dilation.
TEST(lesionwise, enhancing_pieces_of_one_core_are_one_in_2024) {
  const Tensor truth = volume_32({{{4, 4, 4}, {6, 6, 6}, 3}, {{6, 4, 4}, {12, 6, 6}, 1}, {{12, 4, 4}, {14, 6, 6}, 3}});
  EXPECT_EQ(score(truth, truth, kEnhancing, rules_2023(), {1, 1, 1}).lesions.size(), 2u);
  const LesionwiseScores s = score(truth, truth, kEnhancing, rules_2024(), {1, 1, 1});
  ASSERT_EQ(s.lesions.size(), 1u);
  EXPECT_EQ(s.lesions[0].volume_mm3, 16);
  EXPECT_EQ(s.dice, 1);
  EXPECT_EQ(s.hd95_mm, 0);
}

// A piece at two cores belongs to the one that begins first along x, though it is the last along z, and so do the other
// pieces of that core.
TEST(lesionwise, a_piece_of_two_cores_goes_with_the_first) {
  const Tensor truth = volume_32({{{4, 4, 20}, {6, 6, 28}, 1},
                                  {{14, 4, 6}, {16, 6, 12}, 1},
                                  {{6, 4, 20}, {15, 5, 21}, 3},
                                  {{14, 4, 12}, {15, 5, 20}, 3},
                                  {{4, 4, 28}, {5, 5, 31}, 3},
                                  {{14, 4, 1}, {15, 5, 6}, 3}});
  const LesionwiseScores s = score(truth, truth, kEnhancing, rules_2024(), {1, 1, 1});
  ASSERT_EQ(s.lesions.size(), 2u);
  EXPECT_EQ(of_volume(s, 17 + 3).hits, 1);
  EXPECT_EQ(of_volume(s, 5).hits, 1);
}

// What is ignored is a volume in the truth, a number of voxels in the prediction.
TEST(lesionwise, small_is_mm3_in_the_truth_and_voxels_in_the_prediction) {
  const Tensor eight = volume_32({{{4, 4, 4}, {6, 6, 6}}}), nothing = volume_32({});
  const Double3 quarter{1, .5, .5};
  EXPECT_EQ(score(nothing, eight, kCore, rules_2024(), quarter).fn, 0);
  EXPECT_EQ(score(nothing, eight, kCore, rules_2024(), {1, 1, 1}).fn, 1);
  EXPECT_EQ(score(eight, nothing, kCore, rules_2024(), quarter).fp, 1);
}

TEST(lesionwise, nothing_anywhere_is_perfect) {
  const Tensor nothing = volume_32({});
  const LesionwiseScores s = score(nothing, nothing, kCore, rules_2023(), {1, 1, 1});
  EXPECT_EQ(s.dice, 1);
  EXPECT_EQ(s.hd95_mm, 0);
}

// rachitsaluja/BraTS-2023-Metrics and BraTS-2024-Metrics.
TEST(lesionwise, agrees_with_the_scripts_of_the_challenges) {
  int k = 0;
  for (const GoldenCase& c : golden_lesion_cases()) {
    for (const LabelTarget& region : challenge_regions()) {
      const std::string what = "case " + std::to_string(k) + " " + region.name;
      const Json& expected = c.regions.at(region.name);
      for (const auto& [year, rules] : {std::pair{"2023", rules_2023()}, {"2024", rules_2024()}}) {
        const LesionwiseScores s = score(c.prediction, c.truth, region, rules, c.spacing_mm);
        const std::array<double, 5> got{static_cast<double>(s.tp), static_cast<double>(s.fp), static_cast<double>(s.fn),
                                        s.dice, s.hd95_mm};
        for (size_t i = 0; i < got.size(); ++i)
          expect_golden(got[i], expected.at(year)[i], what + " " + year + " number " + std::to_string(i));
        if (rules.join_predictions)  // the script adds 1e-8 below the fraction
          for (size_t i = 0; i < 2; ++i) expect_golden(s.nsd[i], expected.at("nsd")[i], what + " NSD", 1e-8);
      }
      const LabelPairs pairs(c.prediction, c.truth);
      const SurfaceDistances surface =
          surface_distances(region_mask(c.prediction, region), region_mask(c.truth, region), c.spacing_mm);
      const LegacyScores legacy = legacy_scores(pairs.counts(region), surface.hausdorff_mm(.95), rules_2023());
      const std::array<double, 4> got{legacy.dice, legacy.hd95_mm, legacy.sensitivity, legacy.specificity};
      for (size_t i = 0; i < got.size(); ++i)
        expect_golden(got[i], expected.at("legacy")[i], what + " legacy " + std::to_string(i));
    }
    ++k;
  }
  EXPECT_EQ(k, 22);
}

}  // namespace metvox
