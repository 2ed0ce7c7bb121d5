// SPDX-License-Identifier: Apache-2.0
#include "kernels/collective.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <vector>

namespace metvox {
namespace {

double brought(int rank, int64_t i) {
  return std::sin(1.0 + rank + 0.1 * static_cast<double>(i)) * (rank == 1 ? 1e8 : 1);
}

template <class T>
void expect_sums_in_order(Device device) {
  constexpr int kRanks = 3;
  for (int64_t n : {1, 2, 1000}) {
    std::vector<Tensor> x;
    for (int r = 0; r < kRanks; ++r) {
      const Tensor host = Tensor::empty({n}, dtype_of<T>());
      for (int64_t i = 0; i < n; ++i) host.data<T>()[i] = static_cast<T>(brought(r, i));
      x.push_back(host.to(device).clone());
    }
    run_ranks(kRanks, [&](Communicator& ranks) {
      Stream stream(device);
      EXPECT_EQ(ranks.size(), kRanks);
      ranks.all_reduce(stream, x[ranks.rank()].view());
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
  Tensor x = Tensor::zeros({2}, DType::f32);
  x.data<float>()[1] = 3;
  run_ranks(1, [&](Communicator& alone) {
    Stream stream;
    alone.all_reduce(stream, x.view());
  });
  EXPECT_EQ(x.data<float>()[1], 3);
}

TEST(collective, refuses_on_every_rank_what_is_not_alike) {
  run_ranks(2, [&](Communicator& ranks) {
    Stream stream;
    const Tensor x = Tensor::zeros({4 + ranks.rank()}, DType::f32), half = Tensor::zeros({4}, DType::bf16);
    EXPECT_THROW(ranks.all_reduce(stream, x.view()), Error);
    EXPECT_THROW(ranks.all_reduce(stream, half.view()), Error);
  });
}

// Rank 1 meets the others `meetings` times; they would meet five times. Returns what run_ranks() throws.
std::string end_early(int meetings, bool throws, int* released) {
  std::atomic<int> count = 0;
  std::string said;
  try {
    run_ranks(3, [&](Communicator& ranks) {
      Stream stream;
      const Tensor x = Tensor::zeros({4}, DType::f32);
      for (int i = 0; i < 5; ++i) {
        if (ranks.rank() == 1 && i == meetings) {
          if (throws) throw std::runtime_error("a full disk");
          return;
        }
        try {
          ranks.all_reduce(stream, x.view());
        } catch (const Error&) {
          EXPECT_EQ(i, meetings);
          ++count;
          throw;
        }
      }
    });
  } catch (const std::exception& e) {
    said = e.what();
  }
  *released = count;
  return said;
}

TEST(collective, a_rank_that_ends_early_releases_the_others) {
  for (int meetings : {0, 1, 3}) {
    int released = 0;
    EXPECT_EQ(end_early(meetings, true, &released), "a full disk");
    EXPECT_EQ(released, 2);
    EXPECT_NE(end_early(meetings, false, &released).find("another rank has ended"), std::string::npos);
    EXPECT_EQ(released, 2);
  }
}

}  // namespace
}  // namespace metvox
