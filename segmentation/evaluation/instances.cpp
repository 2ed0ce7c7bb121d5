// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/instances.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "segmentation/evaluation/assignment.h"
#include "segmentation/evaluation/components.h"
#include "segmentation/evaluation/mask.h"
#include "segmentation/evaluation/moments.h"

namespace metvox {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kLarge_mm3 = 20, kLeastDice = .1, kPenalty_mm = 373;
constexpr double kLeastPaired = 1e-6;  // Dice below which two lesions are no pair

using Overlaps = std::map<std::pair<size_t, size_t>, int64_t>;  // (true, predicted) component: common voxels

Overlaps overlaps_of(const Components& truth, const Components& prediction) {
  Overlaps common;
  const int32_t *t = truth.index.data<int32_t>(), *p = prediction.index.data<int32_t>();
  for (const Component& c : truth.components)
    for (int64_t z = c.first[0]; z < c.last[0]; ++z)
      for (int64_t y = c.first[1]; y < c.last[1]; ++y)
        for (int64_t x = c.first[2]; x < c.last[2]; ++x) {
          const int64_t i = (z * truth.index.shape()[1] + y) * truth.index.shape()[2] + x;
          if (t[i] && p[i] && &truth.components[static_cast<size_t>(t[i] - 1)] == &c)
            ++common[{static_cast<size_t>(t[i] - 1), static_cast<size_t>(p[i] - 1)}];
        }
  return common;
}

double dice_of(const Component& t, const Component& p, int64_t common) {
  return 2 * static_cast<double>(common) / static_cast<double>(t.voxels + p.voxels);
}

double voxel_mm3(const PairDistances& d) { return d.spacing_mm()[2] * d.spacing_mm()[1] * d.spacing_mm()[0]; }

// The place of each component where they are numbered as the reference numbers them: it reads the file's first axis
// slowest, x, then y, then z. Which of several best pairings it takes depends on that.
std::vector<size_t> places_in_file(const Components& found) {
  const Shape& n = found.index.shape();
  std::map<Int3, size_t> by_first_voxel;  // (x, y, z)
  const auto first_voxel = [&](size_t k) -> Int3 {
    const Component& c = found.components[k];
    for (int64_t x = c.first[2]; x < c.last[2]; ++x)
      for (int64_t y = c.first[1]; y < c.last[1]; ++y)
        for (int64_t z = c.first[0]; z < c.last[0]; ++z)
          if (found.index.data<int32_t>()[(z * n[1] + y) * n[2] + x] == static_cast<int32_t>(k + 1)) return {x, y, z};
    check(false, "component ", k + 1, " has no voxel");
    return {};
  };
  for (size_t k = 0; k < found.components.size(); ++k) by_first_voxel[first_voxel(k)] = k;
  std::vector<size_t> places(found.components.size());
  size_t place = 0;
  for (const auto& [voxel, k] : by_first_voxel) places[k] = place++;
  return places;
}

// The predicted partner of each true lesion.
std::vector<std::optional<size_t>> partners(const Components& truth, const Components& prediction,
                                            const Overlaps& overlaps) {
  const bool turned = truth.components.size() > prediction.components.size();
  const std::vector<size_t> rows = places_in_file(turned ? prediction : truth),
                            columns = places_in_file(turned ? truth : prediction);
  PairingCosts costs{columns.size(), 1 + kLeastPaired, {}};
  costs.rows.resize(rows.size());
  const auto place = [&](size_t t, size_t p) {
    return turned ? std::pair{rows[p], columns[t]} : std::pair{rows[t], columns[p]};
  };
  for (const auto& [pair, common] : overlaps) {
    const auto [row, column] = place(pair.first, pair.second);
    const double dice = dice_of(truth.components[pair.first], prediction.components[pair.second], common);
    if (dice >= kLeastPaired) costs.rows[row][column] = 1 - dice;
  }
  const std::vector<int> column_of = cheapest_assignment(costs);
  std::vector<std::optional<size_t>> partner(truth.components.size());
  for (const auto& [pair, common] : overlaps) {
    const auto [row, column] = place(pair.first, pair.second);
    if (column_of[row] == static_cast<int>(column) && costs.rows[row].contains(column))
      partner[pair.first] = pair.second;
  }
  return partner;
}

InstancePair score_pair(const Components& truth, size_t t, const Components& prediction, size_t p, int64_t common,
                        PairDistances& distances) {
  const Component &a = truth.components[t], &b = prediction.components[p];
  const CropBox box = joined(a.box(), b.box());
  const PairMeasures& measures = distances.of(mask_of(prediction.index, static_cast<int32_t>(p + 1), box),
                                              mask_of(truth.index, static_cast<int32_t>(t + 1), box));
  return {static_cast<double>(a.voxels) * voxel_mm3(distances), dice_of(a, b, common), measures.border_hd95_mm,
          measures.nsd_spacing};
}

MeanStd mean_std(const std::vector<double>& values) { return {mean(values), std_population(values)}; }

// A value of the pairs of large lesions, with `penalty` for each of so many others.
std::vector<double> of_large(const std::vector<InstancePair>& pairs, double InstancePair::*value, int64_t others,
                             double penalty) {
  std::vector<double> values(static_cast<size_t>(others), penalty);
  for (const InstancePair& p : pairs)
    if (p.volume_mm3 >= kLarge_mm3) values.push_back(p.*value);
  return values;
}

SizeClass judge(const InstanceScores& s, bool large) {
  const auto belongs = [large](double mm3) { return (mm3 >= kLarge_mm3) == large; };
  int64_t tp = 0, fn = std::count_if(s.missed_volumes_mm3.begin(), s.missed_volumes_mm3.end(), belongs);
  for (const InstancePair& p : s.pairs)
    if (belongs(p.volume_mm3)) ++(p.dice >= kLeastDice ? tp : fn);
  if (tp + fn == 0) return {kNaN, kNaN, kNaN, kNaN};
  return {static_cast<double>(tp), static_cast<double>(s.fp), static_cast<double>(fn),
          2 * static_cast<double>(tp) / static_cast<double>(2 * tp + s.fp + fn)};
}

void average(InstanceScores& s) {
  const int64_t missed = std::count_if(s.missed_volumes_mm3.begin(), s.missed_volumes_mm3.end(),
                                       [](double mm3) { return mm3 >= kLarge_mm3; });
  const auto paired = of_large(s.pairs, &InstancePair::dice, 0, 0);
  if (paired.empty() && missed == 0) {
    s.dice = s.hd95_mm = s.nsd = s.matched_dice = s.matched_hd95_mm = s.matched_nsd = {kNaN, kNaN};
    return;
  }
  s.dice = mean_std(of_large(s.pairs, &InstancePair::dice, missed + s.fp, 0));
  s.hd95_mm = mean_std(of_large(s.pairs, &InstancePair::hd95_mm, missed + s.fp, kPenalty_mm));
  s.nsd = mean_std(of_large(s.pairs, &InstancePair::nsd, missed + s.fp, 0));
  const int64_t none = paired.empty() ? 1 : 0;  // the penalty stands alone
  s.matched_dice = mean_std(of_large(s.pairs, &InstancePair::dice, none, 0));
  s.matched_hd95_mm = mean_std(of_large(s.pairs, &InstancePair::hd95_mm, none, kPenalty_mm));
  s.matched_nsd = mean_std(of_large(s.pairs, &InstancePair::nsd, none, 0));
}

}  // namespace

InstanceScores instance_scores(const Tensor& prediction, const Tensor& truth, PairDistances& distances) {
  const Components p = find_components(prediction), t = find_components(truth);
  const Overlaps overlaps = overlaps_of(t, p);
  const auto partner = partners(t, p, overlaps);
  InstanceScores s;
  for (size_t k = 0; k < partner.size(); ++k) {
    if (partner[k]) s.pairs.push_back(score_pair(t, k, p, *partner[k], overlaps.at({k, *partner[k]}), distances));
    else s.missed_volumes_mm3.push_back(static_cast<double>(t.components[k].voxels) * voxel_mm3(distances));
  }
  s.tp = static_cast<int64_t>(s.pairs.size());
  s.fn = static_cast<int64_t>(t.components.size()) - s.tp;
  s.fp = static_cast<int64_t>(p.components.size()) - s.tp;
  const auto share = [&](int64_t of) { return static_cast<double>(s.tp) / static_cast<double>(of); };
  s.f1 = 2 * share(2 * s.tp + s.fp + s.fn);
  s.precision = share(s.tp + s.fp);
  s.recall = share(s.tp + s.fn);
  s.large = judge(s, true);
  s.small = judge(s, false);
  average(s);
  return s;
}

}  // namespace metvox
