// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/instances.h"

#include "lesion_cases.h"
#include "segmentation/evaluation/assignment.h"
#include "segmentation/evaluation/border.h"
#include "segmentation/evaluation/lesionwise.h"
#include "tensor/random.h"

namespace metvox {

// One prediction over two lesions finds the one that it is more like; the other is missed.
TEST(instances, pairs_are_one_to_one) {
  const Int3 n{12, 12, 12};
  const Tensor truth = paint_boxes(n, {{{0, 0, 0}, {4, 4, 4}}, {{0, 0, 6}, {2, 2, 8}}});
  const Tensor prediction = paint_boxes(n, {{{0, 0, 0}, {4, 4, 8}}, {{8, 8, 8}, {9, 9, 9}}});
  PairDistances cubes({1, 1, 1});
  const InstanceScores s = instance_scores(prediction, truth, cubes);
  EXPECT_EQ((std::array<int64_t, 3>{s.tp, s.fp, s.fn}), (std::array<int64_t, 3>{1, 1, 1}));
  EXPECT_DOUBLE_EQ(s.pairs[0].dice, 2. * 64 / (64 + 128));
  EXPECT_DOUBLE_EQ(s.f1, 2. / 4);
  EXPECT_EQ(s.small.fn, 1);
  EXPECT_EQ(s.small.fp, 1);
  EXPECT_EQ(s.large.tp, 1);
  EXPECT_DOUBLE_EQ(s.dice.mean, 2. * 64 / (64 + 128) / 2);  // with the false one
  EXPECT_DOUBLE_EQ(s.matched_dice.mean, 2. * 64 / (64 + 128));
}

TEST(instances, no_lesions_no_numbers) {
  const Tensor none = paint_boxes({3, 3, 3}, {}), one = paint_boxes({3, 3, 3}, {{{0, 0, 0}, {1, 1, 1}}});
  PairDistances cubes({1, 1, 1});
  EXPECT_TRUE(std::isnan(instance_scores(none, none, cubes).f1));
  EXPECT_EQ(instance_scores(one, none, cubes).f1, 0);
  EXPECT_EQ(instance_scores(none, one, cubes).small.fn, 1);
}

// brats-evaluation with panoptica.
TEST(instances, agrees_with_brats_evaluation) {
  int k = 0;
  for (const GoldenCase& c : golden_lesion_cases()) {
    PairDistances distances(c.spacing_mm);
    for (const LabelTarget& region : challenge_regions()) {
      const InstanceScores s =
          instance_scores(region_mask(c.prediction, region), region_mask(c.truth, region), distances);
      const auto number = [](int64_t n) { return static_cast<double>(n); };
      const std::vector<double> now{number(s.tp), number(s.fp), number(s.fn), s.f1,           s.precision,
                                    s.recall,     s.dice.mean,  s.dice.std,   s.hd95_mm.mean, s.hd95_mm.std,
                                    s.nsd.mean,   s.nsd.std,    s.large.tp,   s.large.fp,     s.large.fn,
                                    s.large.f1,   s.small.tp,   s.small.fp,   s.small.fn,     s.small.f1};
      const std::vector<double> may{s.matched_dice.mean,   s.matched_dice.std, s.matched_hd95_mm.mean,
                                    s.matched_hd95_mm.std, s.matched_nsd.mean, s.matched_nsd.std};
      for (const auto& [name, got] : {std::pair{"2026", now}, {"may 2026", may}}) {
        const Json& expected = c.regions.at(region.name).at(name);
        ASSERT_EQ(got.size(), expected.size());
        for (size_t i = 0; i < got.size(); ++i)
          expect_golden(got[i], expected[i],
                        "case " + std::to_string(k) + " " + region.name + " " + name + " number " + std::to_string(i));
      }
    }
    ++k;
  }
  EXPECT_EQ(k, 22);
}

TEST(instances, border_distances_by_hand) {
  const Tensor a = paint_boxes({5, 5, 9}, {{{1, 1, 1}, {4, 4, 4}}}),
               b = paint_boxes({5, 5, 9}, {{{1, 1, 2}, {4, 4, 5}}});
  const BorderDistances d = border_distances(a, b, {1, 1, 2});
  ASSERT_EQ(d.from_truth_mm.size(), 26u);  // all but the middle
  // One face of 9 voxels moved out by 2 mm; its neighbours within are borders of both but for the middle of the other
  // cube, 1 mm from the nearest border voxel.
  EXPECT_EQ(d.from_truth_mm.back(), 2);
  EXPECT_DOUBLE_EQ(d.dice(1), (26 - 9) / 26.);
  EXPECT_DOUBLE_EQ(d.dice(.5), (26 - 10) / 26.);
  EXPECT_EQ(d.hd95_mm(), 2);
  const Tensor none = paint_boxes({5, 5, 9}, {});
  EXPECT_EQ(border_distances(a, none, {1, 1, 1}).dice(1), 0);
  EXPECT_TRUE(std::isinf(border_distances(none, a, {1, 1, 1}).hd95_mm()));
  EXPECT_TRUE(std::isnan(border_distances(none, none, {1, 1, 1}).dice(1)));
}

TEST(instances, cheapest_assignment_is_that_of_exhaustion) {
  for (int seed = 0; seed < 30; ++seed) {
    Random random(static_cast<uint64_t>(seed), 1);
    const size_t rows = 1 + static_cast<size_t>(seed) % 4, columns = rows + static_cast<size_t>(seed) % 3;
    PairingCosts costs{columns, random.uniform(.5, 1), std::vector<std::map<size_t, double>>(rows)};
    std::vector<std::vector<double>> cost(rows, std::vector<double>(columns, costs.other));
    for (size_t r = 0; r < rows; ++r)
      for (size_t c = 0; c < columns; ++c)
        if (random.uniform(0, 1) < .8) costs.rows[r][c] = cost[r][c] = random.uniform(0, 1);
    std::vector<size_t> order(columns);
    std::iota(order.begin(), order.end(), size_t{0});
    double least = std::numeric_limits<double>::infinity();
    do {
      double sum = 0;
      for (size_t r = 0; r < rows; ++r) sum += cost[r][order[r]];
      least = std::min(least, sum);
    } while (std::next_permutation(order.begin(), order.end()));
    double sum = 0;
    const std::vector<int> got = cheapest_assignment(costs);
    for (size_t r = 0; r < rows; ++r) sum += cost[r][static_cast<size_t>(got[r])];
    EXPECT_NEAR(sum, least, 1e-12) << seed;
  }
  EXPECT_TRUE(cheapest_assignment({3, 1, {}}).empty());
}

}  // namespace metvox
