// SPDX-License-Identifier: Apache-2.0
#include "segmentation/inference/sliding_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "io/json.h"
#include "tensor/random.h"

namespace metvox {

using Starts = std::vector<int64_t>;

// Numbers of nnU-Net's compute_steps_for_sliding_window.
TEST(sliding_window, starts_are_those_of_nnunet) {
  EXPECT_EQ(window_starts(192, 64, .5), (Starts{0, 32, 64, 96, 128}));
  EXPECT_EQ(window_starts(512, 192, .5), (Starts{0, 80, 160, 240, 320}));
  EXPECT_EQ(window_starts(432, 160, .5), (Starts{0, 68, 136, 204, 272}));
  EXPECT_EQ(window_starts(110, 64, .5), (Starts{0, 23, 46}));
  EXPECT_EQ(window_starts(64, 64, .5), (Starts{0}));
  EXPECT_EQ(window_starts(65, 64, 1), (Starts{0, 1}));
  EXPECT_EQ(window_starts(10, 5, .5), (Starts{0, 2, 5}));  // 2.5 goes to its even neighbour
  EXPECT_EQ(window_starts(3, 1, .5), (Starts{0, 1, 2}));
  EXPECT_EQ(SlidingWindows({192, 512, 432}, {64, 192, 160}, .5).count(), 125);
}

// More of them, and weights bit by bit (tests/golden/make_windows.py).
TEST(sliding_window, starts_and_weights_are_those_of_nnunet) {
  const Json golden = read_json(Path(METVOX_SOURCE_DIR) / "tests/golden/windows.json");
  for (const Json& one : golden.at("starts"))
    for (size_t a = 0; a < 3; ++a)
      EXPECT_EQ(window_starts(one.at("size")[a], one.at("patch")[a], one.at("step")), one.at("starts")[a].get<Starts>())
          << one;
  for (const Json& one : golden.at("weights")) {
    const std::vector<float> weights = window_weights(one.at("patch").get<Int3>());
    const auto bits = one.at("bits").get<std::string>();
    ASSERT_EQ(bits.size(), 4 * weights.size());
    for (size_t i = 0; i < weights.size(); ++i)
      ASSERT_EQ(f16(weights[i]).bits, std::stoi(bits.substr(4 * i, 4), nullptr, 16)) << one.at("patch") << ' ' << i;
  }
}

// Numbers of nnU-Net's compute_gaussian in one dimension, before they are rounded to f16: 11 bits, below 2^-14 steps of
// 2^-24.
TEST(sliding_window, weights_are_a_gaussian) {
  const std::vector<double> expected{.003355, .021875,  .11109,   .439369,  1.353353, 3.246525, 6.065307, 8.824969,
                                     10,      8.824969, 6.065307, 3.246525, 1.353353, .439369,  .11109,   .021875};
  const std::vector<float> weights = window_weights({1, 1, 16});
  ASSERT_EQ(weights.size(), expected.size());
  for (size_t i = 0; i < weights.size(); ++i)
    EXPECT_NEAR(static_cast<double>(weights[i]), expected[i], 1e-6 + expected[i] * 0x1p-11) << i;
}

// exp(-8) three times over 10 is 3.8e-10, which f16 has not: the corner takes what is least elsewhere.
TEST(sliding_window, no_weight_is_zero) {
  const std::vector<float> weights = window_weights({16, 16, 16});
  EXPECT_EQ(weights.front(), 0x1p-24f);
  EXPECT_EQ(weights[(8 * 16 + 8) * 16 + 8], 10.f);
  EXPECT_EQ(*std::min_element(weights.begin(), weights.end()), 0x1p-24f);
}

// What goes in comes out: windows cut, mirrored, blended and mirrored back are the case again.
TEST(sliding_window, blending_the_cut_windows_restores_the_case) {
  for (const Int3& size : {Int3{9, 7, 12}, Int3{3, 8, 5}, Int3{4, 3, 1}}) {
    const Int3 patch{4, 4, 6};
    Tensor data = Tensor::empty({2, size[0], size[1], size[2]}, DType::f32);
    Random random(1, 1);
    for (int64_t i = 0; i < data.size(); ++i) data.data<float>()[i] = static_cast<float>(random.normal());
    const SlidingWindows windows(size, patch, .5);
    Stream host;
    const Tensor window = Tensor::empty({1, 2, 4, 4, 6}, DType::f32), sum = Tensor::zeros(data.shape(), DType::f32);
    for (int64_t w = 0; w < windows.count(); ++w)
      for (int flips = 0; flips < 8; ++flips) {
        windows.cut(host, data.view(), w, flips, window.view());
        windows.blend(host, window.view(), w, flips, 1.f / 8, sum.view());
      }
    EXPECT_TRUE(windows.finish(sum, 0, size[0]));
    // At most 8 windows x 8 flips a voxel, each a rounded product of three, and as many weights in the sum.
    for (int64_t i = 0; i < data.size(); ++i)
      ASSERT_NEAR(sum.data<float>()[i], data.data<float>()[i], 80 * 6e-8 * std::abs(data.data<float>()[i])) << i;
  }
}

// A ring of as many planes as a window has, emptied layer by layer, gives the bits of the whole volume.
TEST(sliding_window, a_ring_of_planes_is_enough) {
  const Int3 patch{4, 4, 6};
  Stream host;
  for (const Int3& size : {Int3{15, 7, 12}, Int3{9, 3, 5}, Int3{3, 8, 5}}) {
    const SlidingWindows windows(size, patch, .3);
    const int64_t planes = windows.planes_kept(), area = size[1] * size[2];
    EXPECT_EQ(planes, std::min(size[0], patch[0]));
    const Tensor whole = Tensor::zeros({2, size[0], size[1], size[2]}, DType::f32),
                 ring = Tensor::zeros({2, planes, size[1], size[2]}, DType::f32),
                 window = Tensor::empty({1, 2, 4, 4, 6}, DType::f32);
    Random random(1, 2);
    int64_t w = 0, rows = 0;
    std::vector<float> collected(static_cast<size_t>(whole.size()));
    for (int64_t layer = 0; layer < windows.layers(); ++layer) {
      for (; w < (layer + 1) * windows.windows_a_layer(); ++w) {
        for (int64_t i = 0; i < window.size(); ++i) window.data<float>()[i] = static_cast<float>(random.normal());
        windows.blend(host, window.view(), w, 2, 1, whole.view());
        windows.blend(host, window.view(), w, 2, 1, ring.view());
      }
      const int64_t first = windows.planes_done(layer), last = windows.planes_done(layer + 1);
      EXPECT_EQ(first, rows);
      EXPECT_TRUE(windows.finish(ring, first, last));
      for (rows = first; rows < last; ++rows)
        for (int64_t r = 0; r < 2; ++r) {
          float* plane = ring.data<float>() + (r * planes + rows % planes) * area;
          std::copy_n(plane, area, collected.data() + (r * size[0] + rows) * area);
          std::fill_n(plane, area, 0.f);
        }
    }
    EXPECT_EQ(w, windows.count());
    EXPECT_EQ(rows, size[0]);
    EXPECT_TRUE(windows.finish(whole, 0, size[0]));
    EXPECT_EQ(std::memcmp(whole.data<float>(), collected.data(), whole.bytes()), 0);
    whole.data<float>()[whole.size() - 1] = std::nanf("");
    EXPECT_FALSE(windows.finish(whole, 0, size[0]));
  }
}

TEST(sliding_window, pads_small_cases_in_the_middle_with_zeros) {
  Tensor data = Tensor::zeros({1, 1, 1, 3}, DType::f32);
  for (int i = 0; i < 3; ++i) data.data<float>()[i] = static_cast<float>(i + 1);
  const Tensor window = Tensor::empty({1, 1, 1, 1, 6}, DType::f32);
  const SlidingWindows windows({1, 1, 3}, {1, 1, 6}, .5);
  ASSERT_EQ(windows.count(), 1);
  Stream host;
  windows.cut(host, data.view(), 0, 0, window.view());
  const float* x = window.data<float>();
  EXPECT_EQ(std::vector<float>(x, x + 6), (std::vector<float>{0, 1, 2, 3, 0, 0}));
  windows.cut(host, data.view(), 0, 4, window.view());
  EXPECT_EQ(std::vector<float>(x, x + 6), (std::vector<float>{0, 0, 3, 2, 1, 0}));
}

// Channels last in, channels first out.
TEST(sliding_window, interleaves_channels) {
  Tensor data = Tensor::empty({2, 1, 1, 2}, DType::f32);
  for (int i = 0; i < 4; ++i) data.data<float>()[i] = static_cast<float>(i);
  const Tensor window = Tensor::empty({1, 2, 1, 1, 2}, DType::f32);
  Stream host;
  SlidingWindows({1, 1, 2}, {1, 1, 2}, .5).cut(host, data.view(), 0, 0, window.view());
  const float* x = window.data<float>();
  EXPECT_EQ(std::vector<float>(x, x + 4), (std::vector<float>{0, 2, 1, 3}));
}

}  // namespace metvox
