// SPDX-License-Identifier: Apache-2.0
// TMA, mbarriers and wgmma: GEMMs on whole numbers in every operand layout that our kernels use, ragged at the edges.
#include <gtest/gtest.h>

#include <random>

#include "kernels/cuda/hopper.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

constexpr int kTile = 64;

// The rows and columns of D that a thread's register j holds.
METVOX_DEVICE int row_of(int thread, int j) { return thread / 32 * 16 + thread % 32 / 4 + j / 2 % 2 * 8; }
METVOX_DEVICE int column_of(int thread, int j) { return j / 4 * 8 + thread % 4 * 2 + j % 2; }

// c (m, n) = a b^T; a (m, k), or (k, m) for Major::mn, b likewise. A 64 x 64 tile a block, kStages boxes of 64 x 64
// deep.
template <class T, int kStages, Major kMajorA, Major kMajorB>
__global__ void __launch_bounds__(128)
    gemm_sm90(const __grid_constant__ TensorMap map_a, const __grid_constant__ TensorMap map_b, float* c, int m, int n,
              int k) {
#if METVOX_HOPPER
  METVOX_SHARED_DYN_1024(T, stages);
  METVOX_SHARED(uint64_t, full, [kStages]);
  constexpr int kBox = kTile * kTile;
  const int t = threadIdx.x, m0 = blockIdx.y * kTile, n0 = blockIdx.x * kTile, steps = (k + kTile - 1) / kTile;
  if (t == 0) {
    for (int s = 0; s < kStages; ++s) mbarrier_init(&full[s], 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  const auto load = [&](int step) {
    const int s = step % kStages, k0 = step * kTile;
    T* a = stages + s * 2 * kBox;
    mbarrier_arrive_expect(&full[s], 2 * kBox * sizeof(T));
    if (kMajorA == Major::k) tma_load<2>(a, map_a, &full[s], {k0, m0});
    else tma_load<2>(a, map_a, &full[s], {m0, k0});
    if (kMajorB == Major::k) tma_load<2>(a + kBox, map_b, &full[s], {k0, n0});
    else tma_load<2>(a + kBox, map_b, &full[s], {n0, k0});
  };
  if (t == 0)
    for (int step = 0; step < kStages && step < steps; ++step) load(step);
  float d[kTile / 2] = {};
  for (int step = 0; step < steps; ++step) {
    const int s = step % kStages;
    mbarrier_wait(&full[s], step / kStages & 1);
    const T *a = stages + s * 2 * kBox, *b = a + kBox;
    wgmma_fence(d);
    for (int kk = 0; kk < kTile; kk += 16)
      wgmma<T, kTile, kMajorA, kMajorB>(d, descriptor_128(kMajorA == Major::k ? a + kk : a + kk * kTile),
                                        descriptor_128(kMajorB == Major::k ? b + kk : b + kk * kTile));
    wgmma_commit();
    wgmma_wait<0>(d);
    __syncthreads();
    if (t == 0 && step + kStages < steps) load(step + kStages);
  }
  for (int j = 0; j < kTile / 2; ++j) {
    const int row = m0 + row_of(t, j), column = n0 + column_of(t, j);
    if (row < m && column < n) c[row * n + column] = d[j];
  }
#endif
}

// One 64 x 32 product over 16 channels of x (1, h, w, 16) under the shift of a convolution's tap: 64 neighbours of a
// row, in 16-byte groups [C / 8][h][w][8] as one 5-D load makes them; A from registers when kRegisters.
template <bool kRegisters>
__global__ void __launch_bounds__(128)
    shifted_rows(const __grid_constant__ TensorMap x, const bf16* w, float* y, int tap_h, int tap_w) {
#if METVOX_HOPPER
  constexpr int kH = 3, kW = 66;
  METVOX_SHARED_DYN_1024(bf16, tile);
  METVOX_SHARED(bf16, weights, [2][32][8]);
  METVOX_SHARED(uint64_t, full, );
  const int t = threadIdx.x;
  if (t == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
  }
  for (int i = t; i < 512; i += 128) weights[i % 16 / 8][i / 16][i % 8] = w[i];
  fence_proxy_async();
  __syncthreads();
  if (t == 0) {
    mbarrier_arrive_expect(&full, 2 * kH * kW * 8 * sizeof(bf16));
    tma_load<5>(tile, x, &full, {0, -1, -1, 0, 0});
  }
  mbarrier_wait(&full, 0);
  const bf16* first = tile + (tap_h * kW + tap_w) * 8;
  float d[16];
  const uint64_t b = descriptor_cores(weights, 32 * 16, 128);
  [[maybe_unused]] uint32_t a[4];  // read until the wait
  if constexpr (kRegisters) {
    for (int q = 0; q < 4; ++q) {
      const bf16* pair = first + (q / 2 * kH * kW + t / 32 * 16 + t % 32 / 4 + q % 2 * 8) * 8 + t % 4 * 2;
      a[q] = pack<bf16>(to_float(pair[0]), to_float(pair[1]));
    }
    wgmma_fence(d, a);
    wgmma<bf16, 32>(d, a, b, false);
  } else {
    wgmma_fence(d);
    wgmma<bf16, 32>(d, descriptor_cores(first, kH * kW * 16, 128), b, false);
  }
  wgmma_commit();
  wgmma_wait<0>(d);
  for (int j = 0; j < 16; ++j) y[row_of(t, j) * 32 + column_of(t, j)] = d[j];
#endif
}

template <class T>
std::vector<T> digits(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<T> values(n);
  for (auto& v : values) v = from_float<T>(static_cast<float>(static_cast<int>(random() % 17) - 8));
  return values;
}

TensorMap boxes_of(DType dtype, void* base, int rows, int columns) {
  const auto c = static_cast<uint64_t>(columns);
  return make_tensor_map({dtype, base, 2, {c, static_cast<uint64_t>(rows)}, {0, c * 2}, {kTile, kTile}, true});
}

template <class T, Major kMajorA, Major kMajorB>
void expect_product(int m, int n, int k) {
  const auto a = digits<T>(static_cast<size_t>(m) * k, 1), b = digits<T>(static_cast<size_t>(n) * k, 2);
  SimBuffer<T> da("a", a), db("b", b);
  SimBuffer<float> dc("c", static_cast<size_t>(m) * n);
  const bool ka = kMajorA == Major::k, kb = kMajorB == Major::k;
  const TensorMap map_a = boxes_of(dtype_of<T>(), da.data(), ka ? m : k, ka ? k : m);
  const TensorMap map_b = boxes_of(dtype_of<T>(), db.data(), kb ? n : k, kb ? k : n);
  Stream stream;
  launch(gemm_sm90<T, 3, kMajorA, kMajorB>, dim3((n + 63) / 64, (m + 63) / 64), dim3(128), 3 * 2 * 64 * 64 * sizeof(T),
         stream, map_a, map_b, dc.data(), m, n, k);
  const auto c = dc.host();
  int wrong = 0;
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      float sum = 0;
      for (int l = 0; l < k; ++l)
        sum += to_float(a[ka ? i * k + l : l * m + i]) * to_float(b[kb ? j * k + l : l * n + j]);
      wrong += c[i * n + j] != sum;
    }
  EXPECT_EQ(wrong, 0);
}

template <bool kRegisters>
void expect_shifted_rows(int tap_h, int tap_w) {
  const int w_extent = 70, h_extent = 2;
  const auto x = digits<bf16>(h_extent * w_extent * 16, 3), w = digits<bf16>(32 * 16, 4);
  SimBuffer<bf16> dx("x", x), dw("w", w);
  SimBuffer<float> dy("y", 64 * 32);
  const uint64_t row = w_extent * 32;
  const TensorMap map = make_tensor_map(
      {DType::bf16, dx.data(), 5, {8, 70, 2, 2, 1}, {0, 32, row, 16, 2 * row}, {8, 66, 3, 2, 1}, false});
  Stream stream;
  launch(shifted_rows<kRegisters>, dim3(1), dim3(128), 2 * 3 * 66 * 16, stream, map, dw.data(), dy.data(), tap_h,
         tap_w);
  const auto y = dy.host();
  for (int i = 0; i < 64; ++i)
    for (int k = 0; k < 32; ++k) {
      float sum = 0;
      const int h = tap_h - 1, at = i + tap_w - 1;
      for (int c = 0; c < 16 && h >= 0 && h < h_extent && at >= 0; ++c)
        sum += to_float(x[(h * w_extent + at) * 16 + c]) * to_float(w[k * 16 + c]);
      ASSERT_EQ(y[i * 32 + k], sum) << i << ' ' << k;
    }
}

}  // namespace

TEST(hopper, multiplies_swizzled_tiles_under_every_schedule) {
  under_every_schedule([] { expect_product<bf16, Major::k, Major::k>(100, 72, 200); });
}

TEST(hopper, multiplies_operands_of_either_major) {
  expect_product<f16, Major::mn, Major::k>(72, 64, 96);
  expect_product<bf16, Major::k, Major::mn>(64, 72, 80);
  expect_product<bf16, Major::mn, Major::mn>(136, 64, 64);
}

TEST(hopper, shifts_a_tile_of_channel_groups_by_a_tap) {
  for (int tap_h : {0, 1, 2})
    for (int tap_w : {0, 2}) {
      expect_shifted_rows<false>(tap_h, tap_w);
      expect_shifted_rows<true>(tap_h, tap_w);
    }
}

TEST(hopper, needs_sm_90) {
  const auto before = simt::options();
  simt::options().arch = 800;
  EXPECT_THROW((expect_product<bf16, Major::k, Major::k>(64, 64, 64)), Error);
  simt::options() = before;
}

TEST(hopper, refuses_a_map_that_the_driver_would_refuse) {
  SimBuffer<bf16> x("x", 64 * 9);
  EXPECT_THROW(boxes_of(DType::bf16, x.data(), 64, 9), Error);
  const auto image = [&](int64_t c, const Int3& lower, const Int3& upper, const Int3& step) {
    make_im2col_map({DType::bf16, x.data(), 1, c, {1, 3, 3}, lower, upper, step, 64, 128});
  };
  const Int3 corner{-1, -1, -1}, one{1, 1, 1};
  EXPECT_NO_THROW(image(64, corner, {0, -1, -1}, one));
  EXPECT_THROW(image(9, corner, {0, -1, -1}, one), Error);
  EXPECT_THROW(image(64, {-17, -1, -1}, {0, -1, -1}, one), Error);
  EXPECT_THROW(image(64, corner, {-2, -1, -1}, one), Error);
  EXPECT_THROW(image(64, corner, {0, -1, -1}, {1, 9, 1}), Error);
}

}  // namespace metvox::METVOX_KERNEL_NS
