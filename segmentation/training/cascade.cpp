// SPDX-License-Identifier: Apache-2.0
// The transforms of a cascade: what the previous stage may have got wrong (batchgeneratorsv2,
// transforms/nnunet/random_binary_operator.py, remove_connected_components.py).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "segmentation/evaluation/components.h"
#include "segmentation/training/transforms.h"

namespace metvox {
namespace {

constexpr double kLabelProbability = 0.5;
constexpr double kLeastRadius = 1, kMostRadius = 8;
constexpr double kLargestShare = 0.15;  // of the patch, of a component that may be lost

using Mask = std::vector<uint8_t>;

// Each label with probability 1/2, in random order.
std::vector<int8_t> draw_labels(Random& random, int64_t labels) {
  std::vector<int8_t> all(static_cast<size_t>(labels)), drawn;
  std::iota(all.begin(), all.end(), int8_t{1});
  for (size_t i = all.size(); i > 1; --i)
    std::swap(all[i - 1], all[static_cast<size_t>(random.below(static_cast<int64_t>(i)))]);
  for (int8_t label : all)
    if (random.uniform() < kLabelProbability) drawn.push_back(label);
  return drawn;
}

// A row of the ball: its voxels at (dz, dy, dx) from the centre, dx from first to last.
struct BallRow {
  int64_t dz, dy, first, last;
};

// skimage's grid: floor(2 r + 1) points from -r to r along each axis. Even ones have their centre half a voxel before
// the middle, as the reference pads them.
std::vector<BallRow> ball(double radius) {
  const auto n = static_cast<int64_t>(2 * radius + 1), before = (n - 1) / 2;
  const auto at = [&](int64_t i) {
    return n == 1 ? -radius : -radius + static_cast<double>(i) * (2 * radius / static_cast<double>(n - 1));
  };
  std::vector<BallRow> rows;
  for (int64_t z = 0; z < n; ++z)
    for (int64_t y = 0; y < n; ++y) {
      int64_t first = n, last = -1;
      for (int64_t x = 0; x < n; ++x)
        if (at(z) * at(z) + at(y) * at(y) + at(x) * at(x) <= radius * radius) {
          first = std::min(first, x);
          last = x;
        }
      if (last >= 0) rows.push_back({z - before, y - before, first - before, last - before});
    }
  return rows;
}

// A voxel is set where the ball around it meets the mask; outside the patch there is nothing. Rows by counting: how
// many voxels of the mask's row lie in the ball's.
Mask dilated(const Mask& mask, const Int3& n, const std::vector<BallRow>& rows) {
  Mask out(mask.size());
  std::vector<int32_t> count(static_cast<size_t>(n[2]) + 1);
  for (int64_t z = 0; z < n[0]; ++z)
    for (int64_t y = 0; y < n[1]; ++y) {
      const uint8_t* row = mask.data() + (z * n[1] + y) * n[2];
      std::partial_sum(row, row + n[2], count.begin() + 1, std::plus<int32_t>());
      if (count.back() == 0) continue;
      for (const BallRow& b : rows) {
        const int64_t to_z = z - b.dz, to_y = y - b.dy;
        if (to_z < 0 || to_z >= n[0] || to_y < 0 || to_y >= n[1]) continue;
        uint8_t* to = out.data() + (to_z * n[1] + to_y) * n[2];
        for (int64_t x = 0; x < n[2]; ++x) {
          const int64_t first = std::clamp<int64_t>(x + b.first, 0, n[2]),
                        last = std::clamp<int64_t>(x + b.last + 1, 0, n[2]);
          to[x] |= static_cast<uint8_t>(count[static_cast<size_t>(last)] > count[static_cast<size_t>(first)]);
        }
      }
    }
  return out;
}

Mask inverted(Mask mask) {
  for (uint8_t& v : mask) v = !v;
  return mask;
}

Mask eroded(const Mask& mask, const Int3& n, const std::vector<BallRow>& rows) {
  return inverted(dilated(inverted(mask), n, rows));
}

Mask operated(const Mask& mask, const Int3& n, const Morphology::Step& step) {
  const std::vector<BallRow> rows = ball(step.radius);
  switch (step.op) {
    case Morphology::Operator::dilate: return dilated(mask, n, rows);
    case Morphology::Operator::erode: return eroded(mask, n, rows);
    case Morphology::Operator::close: return eroded(dilated(mask, n, rows), n, rows);
    case Morphology::Operator::open: return dilated(eroded(mask, n, rows), n, rows);
  }
  fail(Fault::internal, "Morphology: no such operator");
}

}  // namespace

Morphology Morphology::draw(Random& random, int64_t labels) {
  Morphology m;
  for (int8_t label : draw_labels(random, labels)) {
    const auto op = static_cast<Operator>(random.below(4));
    m.steps.push_back({label, op, random.uniform(kLeastRadius, kMostRadius)});
  }
  return m;
}

void Morphology::apply(Patch& patch) const {
  Mask mask(patch.previous.size());
  for (const Step& step : steps) {
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = patch.previous[i] == step.label;
    if (std::find(mask.begin(), mask.end(), 1) == mask.end()) continue;
    const Mask now = operated(mask, patch.extent, step);
    for (size_t i = 0; i < mask.size(); ++i)
      if (now[i] != mask[i]) patch.previous[i] = now[i] ? step.label : int8_t{0};
  }
}

LostComponents LostComponents::draw(Random& random, int64_t labels) {
  LostComponents l;
  for (int8_t label : draw_labels(random, labels)) l.steps.push_back({label, random.uniform()});
  return l;
}

void LostComponents::apply(Patch& patch) const {
  const Tensor mask = Tensor::empty({patch.extent[0], patch.extent[1], patch.extent[2]}, DType::u8);
  for (const Step& step : steps) {
    for (size_t i = 0; i < patch.previous.size(); ++i) mask.data<uint8_t>()[i] = patch.previous[i] == step.label;
    const Components found = find_components(mask);
    std::vector<int32_t> small;
    for (size_t k = 0; k < found.components.size(); ++k)
      if (static_cast<double>(found.components[k].voxels) < kLargestShare * static_cast<double>(patch.voxels()))
        small.push_back(static_cast<int32_t>(k + 1));
    if (small.empty()) continue;
    const int32_t lost = small[static_cast<size_t>(step.choice * static_cast<double>(small.size()))];
    for (size_t i = 0; i < patch.previous.size(); ++i)
      if (found.index.data<int32_t>()[i] == lost) patch.previous[i] = 0;
  }
}

}  // namespace metvox
