// SPDX-License-Identifier: Apache-2.0
#include "kernels/collective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

namespace metvox {
namespace {

// work(rank) on a thread for each.
template <class F>
void on_ranks(int size, F work) {
  std::vector<std::jthread> threads;
  for (int r = 0; r < size; ++r) threads.emplace_back([&work, r] { work(r); });
}

double brought(int rank, int64_t i) {
  return std::sin(1.0 + rank + 0.1 * static_cast<double>(i)) * (rank == 1 ? 1e8 : 1);
}

template <class T>
void expect_sums_in_order(Device device) {
  constexpr int kRanks = 3;
  ThreadRanks ranks(kRanks);
  for (int64_t n : {1, 2, 1000}) {
    std::vector<Tensor> x;
    for (int r = 0; r < kRanks; ++r) {
      const Tensor host = Tensor::empty({n}, dtype_of<T>());
      for (int64_t i = 0; i < n; ++i) host.data<T>()[i] = static_cast<T>(brought(r, i));
      x.push_back(host.to(device).clone());
    }
    on_ranks(kRanks, [&](int r) {
      Stream stream(device);
      EXPECT_EQ(ranks[r].rank(), r);
      EXPECT_EQ(ranks[r].size(), kRanks);
      ranks[r].all_reduce(stream, x[r].view());
    });
    for (int r = 0; r < kRanks; ++r) {
      const Tensor host = x[r].to({});
      for (int64_t i = 0; i < n; ++i) {
        T sum = static_cast<T>(brought(0, i));
        for (int k = 1; k < kRanks; ++k) sum += static_cast<T>(brought(k, i));
        ASSERT_EQ(host.data<T>()[i], sum) << r << ' ' << i;
      }
    }
  }
}

TEST(collective, adds_in_the_order_of_ranks) {
  expect_sums_in_order<float>({});
  expect_sums_in_order<double>({});
  expect_sums_in_order<float>({Device::Kind::sim});
}

TEST(collective, one_rank_keeps_what_it_has) {
  ThreadRanks alone(1);
  Tensor x = Tensor::zeros({2}, DType::f32);
  x.data<float>()[1] = 3;
  Stream stream;
  alone[0].all_reduce(stream, x.view());
  EXPECT_EQ(x.data<float>()[1], 3);
}

TEST(collective, refuses_on_every_rank_what_is_not_alike) {
  ThreadRanks ranks(2);
  on_ranks(2, [&](int r) {
    Stream stream;
    const Tensor x = Tensor::zeros({4 + r}, DType::f32), half = Tensor::zeros({4}, DType::bf16);
    EXPECT_THROW(ranks[r].all_reduce(stream, x.view()), Error);
    EXPECT_THROW(ranks[r].all_reduce(stream, half.view()), Error);
  });
}

}  // namespace
}  // namespace metvox
