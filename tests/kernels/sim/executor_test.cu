// SPDX-License-Identifier: Apache-2.0
// The executor gives CUDA's semantics: grids, barriers, warp functions, votes, atomics, early exits.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>

#include "kernels/cuda/kernel.h"
#include "tensor/async.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

Stream stream;

__global__ void number_threads(int* out) {
  const int threads = static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
  const int t = static_cast<int>((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x);
  const int b = static_cast<int>((blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x);
  out[b * threads + t] = b * 1000 + t;
}

METVOX_DEVICE float warp_sum(float v) {
  for (int bits = 16; bits > 0; bits /= 2) v += __shfl_xor_sync(~0u, v, bits);
  return v;
}

template <int kThreads>
__global__ void __launch_bounds__(kThreads) sum_blocks(const float* x, int n, float* sums) {
  METVOX_SHARED(float, partial, [kThreads / 32]);
  float v = 0;
  for (int i = blockIdx.x * kThreads + threadIdx.x; i < n; i += gridDim.x * kThreads) v += x[i];
  v = warp_sum(v);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x < 32) {
    v = warp_sum(threadIdx.x < kThreads / 32 ? partial[threadIdx.x] : 0.f);
    if (threadIdx.x == 0) sums[blockIdx.x] = v;
  }
}

// A warp of 16 lanes: the absent ones are ignored.
__global__ void sum_of_present_lanes(int* out) {
  int v = static_cast<int>(threadIdx.x);
  for (unsigned d = 16; d; d /= 2) {
    const int other = __shfl_down_sync(~0u, v, d);
    if (threadIdx.x % 32 + d < 32 && threadIdx.x + d < blockDim.x) v += other;
  }
  out[threadIdx.x] = v;
}

__global__ void shuffle_in_halves(int* out) {
  int v = static_cast<int>(threadIdx.x);
  if (threadIdx.x < 16) v = __shfl_xor_sync(0xffffu, v, 1);
  else v = __shfl_up_sync(0xffff0000u, v, 2, 16);
  out[threadIdx.x] = v + 100 * __shfl_sync(~0u, static_cast<int>(threadIdx.x), 3, 8);
}

__global__ void vote(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  const unsigned thirds = __ballot_sync(~0u, t % 3 == 0);
  out[4 * t] = static_cast<int>(thirds & 0xff);
  out[4 * t + 1] = __syncthreads_count(t % 5 == 0);
  out[4 * t + 2] = __syncthreads_and(t < 1000) + 2 * __syncthreads_and(t < 100);
  out[4 * t + 3] = __syncthreads_or(t == 77) + 2 * __any_sync(~0u, t == 3) + 4 * __all_sync(~0u, t < 32);
}

__global__ void reverse_after_exits(int* out, int n) {
  METVOX_SHARED(int, s, [256]);
  const int t = static_cast<int>(threadIdx.x);
  if (t >= n) return;
  s[t] = t;
  __syncthreads();
  out[t] = s[n - 1 - t];
}

__global__ void histogram(const unsigned char* x, int n, int* counts) {
  METVOX_SHARED(int, mine, [16]);
  if (threadIdx.x < 16) mine[threadIdx.x] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    atomicAdd(&mine[x[i] & 15], 1);
  __syncthreads();
  if (threadIdx.x < 16) atomicAdd(&counts[threadIdx.x], mine[threadIdx.x]);
}

__global__ void reverse_dynamic(const float* x, float* y) {
  METVOX_SHARED_DYN(float, s);
  METVOX_SHARED(int, one_more, );
  if (threadIdx.x == 0) one_more = 1;
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  const unsigned i = blockIdx.x * blockDim.x;
  y[i + threadIdx.x] = s[blockDim.x - 1 - threadIdx.x] + static_cast<float>(one_more);
}

__global__ void meets_at_two_places() {
  if (threadIdx.x < 32) __syncthreads();
  else __syncthreads();
}

[[maybe_unused]] __global__ void reads_poison(float* out) {
  METVOX_SHARED(float, s, [32]);
  out[threadIdx.x] = s[threadIdx.x] + __shfl_sync(0xffffu, 1.f, 20);
}

}  // namespace

TEST(executor, numbers_threads_and_blocks_in_three_dimensions) {
  SimBuffer<int> out("out", 12 * 60);
  launch(number_threads, dim3(2, 3, 2), dim3(4, 3, 5), 0, stream, out.data());
  const auto values = out.host();
  for (int i = 0; i < 720; ++i) ASSERT_EQ(values[i], i / 60 * 1000 + i % 60);
}

TEST(executor, reduces_blocks_under_every_schedule) {
  std::vector<float> x(5000);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7);
  SimBuffer<float> in("x", x), sums("sums", 4);
  under_every_schedule([&] {
    launch(sum_blocks<128>, dim3(4), dim3(128), 0, stream, in.data(), 5000, sums.data());
    const auto s = sums.host();
    EXPECT_EQ(s[0] + s[1] + s[2] + s[3], 14995.f);
  });
}

TEST(executor, ignores_lanes_that_a_last_warp_never_had) {
  SimBuffer<int> out("out", 48);
  launch(sum_of_present_lanes, dim3(1), dim3(48), 0, stream, out.data());
  EXPECT_EQ(out.host()[0], 31 * 32 / 2);
  EXPECT_EQ(out.host()[32], 16 * 32 + 16 * 15 / 2);
}

TEST(executor, shuffles_disjoint_masks_and_segments) {
  SimBuffer<int> out("out", 32);
  under_every_schedule([&] {
    launch(shuffle_in_halves, dim3(1), dim3(32), 0, stream, out.data());
    const auto v = out.host();
    EXPECT_EQ(v[0], 1 + 300);
    EXPECT_EQ(v[9], 8 + 1100);
    EXPECT_EQ(v[17], 17 + 1900);  // no lane two below in its segment: its own
    EXPECT_EQ(v[31], 29 + 2700);
  });
}

TEST(executor, votes) {
  SimBuffer<int> out("out", 4 * 128);
  launch(vote, dim3(1), dim3(128), 0, stream, out.data());
  const auto v = out.host();
  EXPECT_EQ(v[0], 0x49);
  EXPECT_EQ(v[1], 26);
  EXPECT_EQ(v[2], 1);
  EXPECT_EQ(v[3], 1 + 2 + 4);
  EXPECT_EQ(v[4 * 32 + 3], 1);
}

TEST(executor, barriers_count_threads_that_have_not_exited) {
  SimBuffer<int> out("out", 256);
  out.zero();
  launch(reverse_after_exits, dim3(1), dim3(256), 0, stream, out.data(), 100);
  EXPECT_EQ(out.host()[0], 99);
  EXPECT_EQ(out.host()[99], 0);
  EXPECT_EQ(out.host()[100], 0);
}

TEST(executor, adds_atomically_in_shared_and_device_memory) {
  std::vector<unsigned char> x(10000);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<unsigned char>(i % 16);
  SimBuffer<unsigned char> in("x", x);
  SimBuffer<int> counts("counts", 16);
  counts.zero();
  launch(histogram, dim3(7), dim3(96), 0, stream, in.data(), 10000, counts.data());
  EXPECT_EQ(counts.host(), std::vector<int>(16, 625));
}

TEST(executor, gives_dynamic_shared_memory_beside_static) {
  std::vector<float> x(64);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  SimBuffer<float> in("x", x), out("y", 3 * 64);
  launch(reverse_dynamic, dim3(3), dim3(64), 64 * sizeof(float), stream, in.data(), out.data());
  EXPECT_EQ(out.host()[0], 64.f);
  EXPECT_EQ(out.host()[191], 1.f);
}

#if !defined(METVOX_SIM_CHECKED)  // which reports it
TEST(executor, poisons_what_nobody_wrote) {
  SimBuffer<float> out("out", 32);
  EXPECT_TRUE(std::isnan(out.host()[0]));
  launch(reads_poison, dim3(1), dim3(16), 0, stream, out.data());
  EXPECT_TRUE(std::isnan(out.host()[0]));
}
#endif

TEST(executor, refuses_what_a_device_refuses) {
  SimBuffer<int> out("out", 1);
  const auto error_of = [&](dim3 grid, dim3 block, size_t bytes) -> std::string {
    try {
      launch(number_threads, grid, block, bytes, stream, out.data());
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_NE(error_of(dim3(1), dim3(1025), 0).find("1 to 1024 threads"), std::string::npos);
  EXPECT_NE(error_of(dim3(0), dim3(32), 0).find("the grid is empty"), std::string::npos);
  EXPECT_NE(error_of(dim3(1, 65536), dim3(32), 0).find("65535"), std::string::npos);
  EXPECT_NE(error_of(dim3(1), dim3(32), 300000).find("232448 bytes of sm_90"), std::string::npos);
  EXPECT_NE(error_of(dim3(1), dim3(32), 300000).find("number_threads"), std::string::npos);
}

TEST(executor, reports_whose_work_it_was) {
  const Device sim{Device::Kind::sim};
  const NamedRange outer(sim, "network"), inner(sim, "encoder.stages.0");
  try {
    launch(meets_at_two_places, dim3(1), dim3(64), 0, stream);
    FAIL() << "nothing was reported";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(", of encoder.stages.0"), std::string::npos) << e.what();
  }
}

}  // namespace metvox::METVOX_KERNEL_NS
