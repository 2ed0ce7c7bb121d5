// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/restore.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tensor/random.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

Labels classes(int count) {
  Json labels{{"background", 0}};
  for (int k = 1; k < count; ++k) labels["class" + std::to_string(k)] = k;
  return Labels::from_json({{"labels", labels}}, "test");
}

Labels regions() {
  return Labels::from_json(
      {{"labels", {{"background", 0}, {"whole", {1, 2}}, {"core", {2}}}}, {"regions_class_order", {1, 2}}}, "test");
}

Tensor random_logits(const Shape& shape) {
  const Tensor t = Tensor::empty(shape, DType::f32);
  Random random(5, 6);
  for (int64_t i = 0; i < t.size(); ++i) t.data<float>()[i] = static_cast<float>(random.normal());
  return t;
}

// A grid that the logits are brought onto with axes turned, a margin, and one axis not interpolated if said.
RestoreGrid turned_grid(const Int3& size, SeparateZ nearest) {
  const Int3 shape{size[2] + 3, size[0] + 2, size[1] + 4};
  const Int3 stride{shape[2], 1, shape[1] * shape[2]};
  return {size, nearest, shape, stride[0] + 2 * stride[1] + stride[2], stride};
}

struct Restored {
  Tensor labels, probabilities;
};

Restored restore(const Tensor& logits, const RestoreGrid& grid, const Labels& labels, int64_t piece, int64_t planes) {
  const Shape& n = logits.shape();
  LabelRestorer restorer(grid, {n[1], n[2], n[3]}, labels, true);
  const int64_t area = n[2] * n[3];
  const Tensor ring = Tensor::empty({n[0], planes, n[2], n[3]}, DType::f32);
  for (int64_t first = 0; first < n[1]; first += piece) {
    const int64_t last = std::min(first + piece, n[1]);
    std::fill_n(ring.data<float>(), ring.size(), std::nanf(""));  // planes before are gone
    for (int64_t r = 0; r < n[0]; ++r)
      for (int64_t z = first; z < last; ++z)
        std::copy_n(logits.data<float>() + (r * n[1] + z) * area, area,
                    ring.data<float>() + (r * planes + z % planes) * area);
    restorer.add({ring, first, last});
  }
  return {restorer.labels(), restorer.probabilities()};
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.view().data, b.view().data, a.bytes()) == 0;
}

}  // namespace

TEST(restore, pieces_give_the_bits_of_the_whole) {
  const Int3 from{9, 40, 11};
  for (const Labels& labels : {classes(20), regions()}) {
    const Tensor logits = random_logits({static_cast<int64_t>(labels.heads().size()), from[0], from[1], from[2]});
    for (const Int3& to : {Int3{21, 47, 23}, Int3{4, 40, 11}, Int3{9, 40, 11}, Int3{9, 19, 5}})
      for (const SeparateZ nearest : {SeparateZ{}, SeparateZ{true, 0}, SeparateZ{true, 2}}) {
        const RestoreGrid grid = turned_grid(to, nearest);
        const Restored whole = restore(logits, grid, labels, 9, 9);
        for (const int64_t piece : {1, 2, 4}) {
          const Restored pieces = restore(logits, grid, labels, piece, 5);
          EXPECT_TRUE(same(whole.labels, pieces.labels)) << piece;
          EXPECT_TRUE(same(whole.probabilities, pieces.probabilities)) << piece;
        }
      }
  }
}

// Against one voxel after the other in double; where two answers all but tie, either may win.
TEST(restore, every_voxel_is_interpolated_and_decided) {
  const Int3 from{5, 6, 7}, to{8, 3, 7};
  const Labels labels = classes(4);
  const Tensor logits = random_logits({4, 5, 6, 7});
  const RestoreGrid grid = turned_grid(to, {});
  const Restored got = restore(logits, grid, labels, 2, 3);
  int64_t labelled = 0;
  for (int64_t i = 0; i < volume(to); ++i) {
    const Int3 at{i / (to[1] * to[2]), i / to[2] % to[1], i % to[2]};
    double value[4] = {}, position[3];
    for (size_t a = 0; a < 3; ++a)
      position[a] =
          std::clamp((static_cast<double>(at[a]) + .5) * static_cast<double>(from[a]) / static_cast<double>(to[a]) - .5,
                     0., static_cast<double>(from[a] - 1));
    for (int corner = 0; corner < 8; ++corner) {
      double weight = 1;
      Int3 voxel{};
      for (size_t a = 0; a < 3; ++a) {
        const double whole = std::floor(position[a]), rest = position[a] - whole;
        const bool next = (corner >> a) & 1;
        weight *= next ? rest : 1 - rest;
        voxel[a] = std::min(static_cast<int64_t>(whole) + next, from[a] - 1);
      }
      for (int64_t r = 0; r < 4; ++r)
        value[r] += weight * logits.data<float>()[((r * from[0] + voxel[0]) * from[1] + voxel[1]) * from[2] + voxel[2]];
    }
    const int64_t o = grid.first + at[0] * grid.stride[0] + at[1] * grid.stride[1] + at[2] * grid.stride[2];
    const uint8_t label = got.labels.data<uint8_t>()[o];
    EXPECT_GE(value[label], *std::max_element(value, value + 4) - 1e-5);
    double sum = 0;
    for (double v : value) sum += std::exp(v);
    for (int64_t r = 0; r < 4; ++r)
      EXPECT_NEAR(got.probabilities.data<float>()[r * got.labels.size() + o], std::exp(value[r]) / sum, 1e-5);
    labelled += label > 0;
  }
  EXPECT_GT(labelled, 0);
  int64_t everywhere = 0;
  for (int64_t i = 0; i < got.labels.size(); ++i) everywhere += got.labels.data<uint8_t>()[i] > 0;
  EXPECT_EQ(everywhere, labelled);  // nothing outside
}

// Rows long enough for vectors, onto finer and coarser grids, and ends that no vector fits.
TEST(restore, rows_of_every_length_are_interpolated) {
  const Labels labels = classes(3);
  for (const auto& [from, to] : std::vector<std::pair<int64_t, int64_t>>{
           {192, 240}, {240, 192}, {64, 17}, {33, 100}, {16, 17}, {15, 40}, {40, 15}, {100, 3}, {1, 50}, {2, 33}}) {
    const Tensor logits = random_logits({3, 1, 1, from});
    const RestoreGrid grid{{1, 1, to}, {}, {1, 1, to}, 0, {to, to, 1}};
    const Restored got = restore(logits, grid, labels, 1, 1);
    for (int64_t i = 0; i < to; ++i) {
      const double x =
          std::clamp((static_cast<double>(i) + .5) * static_cast<double>(from) / static_cast<double>(to) - .5, 0.,
                     static_cast<double>(from - 1));
      const auto first = static_cast<int64_t>(x), second = std::min(first + 1, from - 1);
      double value[3], sum = 0;
      for (int64_t r = 0; r < 3; ++r) {
        const float* row = logits.data<float>() + r * from;
        value[r] = row[first] + (x - std::floor(x)) * (row[second] - row[first]);
        sum += std::exp(value[r]);
      }
      for (int64_t r = 0; r < 3; ++r)
        ASSERT_NEAR(got.probabilities.data<float>()[r * to + i], std::exp(value[r]) / sum, 1e-5)
            << from << " to " << to << " at " << i;
    }
  }
}

TEST(restore, the_first_of_equal_answers_and_the_last_region_win) {
  const Tensor logits = Tensor::zeros({3, 1, 1, 300}, DType::f32);
  for (int64_t i = 0; i < 300; ++i) logits.data<float>()[300 + i] = logits.data<float>()[600 + i] = i % 2 ? 1.f : 0.f;
  const RestoreGrid grid{{1, 1, 300}, {}, {1, 1, 300}, 0, {300, 300, 1}};
  const Tensor exclusive = restore(logits, grid, classes(3), 1, 1).labels;
  for (int64_t i = 0; i < 300; ++i) EXPECT_EQ(exclusive.data<uint8_t>()[i], i % 2);
  const Tensor first_two = Tensor::zeros({2, 1, 1, 300}, DType::f32);
  std::copy_n(logits.data<float>() + 300, 600, first_two.data<float>());
  const Tensor nested = restore(first_two, grid, regions(), 1, 1).labels;
  for (int64_t i = 0; i < 300; ++i) EXPECT_EQ(nested.data<uint8_t>()[i], i % 2 ? 2 : 0);
}

}  // namespace metvox
