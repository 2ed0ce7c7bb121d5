// SPDX-License-Identifier: Apache-2.0
// A GEMM as our convolutions are built: cp.async stages, ldmatrix, mma, against a plain loop.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <random>

#include "kernels/cuda/ptx.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

// c (m, n) f32 = a (m, k) b (n, k)^T in T, for k a multiple of 16. 4 warps make a 64 x 16 tile, kStages deep.
template <class T, int kStages>
__global__ void __launch_bounds__(128) gemm(const T* a, const T* b, float* c, int m, int n, int k) {
  constexpr int kRow = 24;  // 16 and padding: rows stay 16-byte aligned and fall into different banks
  METVOX_SHARED(T, tile_a, [kStages][64][kRow]);
  METVOX_SHARED(T, tile_b, [kStages][16][kRow]);
  const int t = threadIdx.x, warp = t / 32, lane = t % 32, m0 = blockIdx.x * 64, n0 = blockIdx.y * 16;
  const int row = t / 2, half = t % 2 * 8, steps = k / 16;
  const auto load = [&](int step) {
    if (step < steps) {
      const int s = step % kStages;
      const bool in_a = m0 + row < m, in_b = n0 + row < n;
      cp_async16(&tile_a[s][row][half], in_a ? a + (m0 + row) * k + step * 16 + half : a, in_a);
      if (row < 16) cp_async16(&tile_b[s][row][half], in_b ? b + (n0 + row) * k + step * 16 + half : b, in_b);
    }
    cp_async_commit();
  };
  float sum[2][4] = {};
  for (int s = 0; s < kStages - 1; ++s) load(s);
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    load(step + kStages - 1);
    const int s = step % kStages;
    uint32_t fa[4], fb[4];
    ldmatrix_x4(fa, &tile_a[s][warp * 16 + lane % 16][lane / 16 * 8]);
    ldmatrix_x4(fb, &tile_b[s][lane % 8 + lane / 16 * 8][lane / 8 % 2 * 8]);
    mma_m16n8k16<T>(sum[0], fa, {fb[0], fb[1]});
    mma_m16n8k16<T>(sum[1], fa, {fb[2], fb[3]});
  }
  cp_async_wait<0>();
  for (int j = 0; j < 8; ++j) {
    const int r = m0 + warp * 16 + lane / 4 + j / 2 % 2 * 8, col = n0 + j / 4 * 8 + lane % 4 * 2 + j % 2;
    if (r < m && col < n) c[r * n + col] = sum[j / 4][j % 4];
  }
}

// Small whole numbers: every sum is exact.
template <class T>
std::vector<T> digits(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<T> values(n);
  for (auto& v : values) v = from_float<T>(static_cast<float>(static_cast<int>(random() % 17) - 8));
  return values;
}

// The milliseconds of the launch.
template <class T>
double expect_product(int m, int n, int k) {
  const auto a = digits<T>(static_cast<size_t>(m) * k, 1), b = digits<T>(static_cast<size_t>(n) * k, 2);
  SimBuffer<T> da("a", a), db("b", b);
  SimBuffer<float> dc("c", static_cast<size_t>(m) * n);
  Stream stream;
  const auto start = std::chrono::steady_clock::now();
  launch(gemm<T, 3>, dim3((m + 63) / 64, (n + 15) / 16), dim3(128), 0, stream, da.data(), db.data(), dc.data(), m, n,
         k);
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
  const auto c = dc.host();
  int wrong = 0;
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      float sum = 0;
      for (int l = 0; l < k; ++l) sum += to_float(a[i * k + l]) * to_float(b[j * k + l]);
      wrong += c[i * n + j] != sum;  // NaN differs too
    }
  EXPECT_EQ(wrong, 0);
  return time.count();
}

}  // namespace

TEST(gemm, is_exact_on_whole_numbers_under_every_schedule) {
  under_every_schedule([] { expect_product<bf16>(100, 24, 80); });
}

TEST(gemm, copies_at_once_before_sm_80) {
  const auto before = simt::options();
  simt::options().arch = 750;
  EXPECT_THROW(expect_product<bf16>(64, 16, 32), Error);
  simt::options() = before;
}

// The arithmetic of a 3x3x3 convolution, 16 to 16 channels, on 16^3 voxels.
TEST(gemm, of_the_size_of_a_convolution) {
  RecordProperty("launch_ms", std::to_string(expect_product<bf16>(4096, 16, 432)));
}

}  // namespace metvox::METVOX_KERNEL_NS
