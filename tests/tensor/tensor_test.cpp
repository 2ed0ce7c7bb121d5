// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include "tensor/random.h"
#include "tensor/threads.h"

namespace metvox {

TEST(tensor, slices_and_reshapes_share_memory) {
  Tensor t = Tensor::zeros({4, 3}, DType::f32);
  t.slice(1, 2).data<float>()[0] = 5;
  EXPECT_EQ(t.data<float>()[3], 5);
  t.reshape({12}).data<float>()[11] = 7;
  EXPECT_EQ(t.data<float>()[11], 7);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(t.view().data) % 64, 0u);
}

TEST(tensor, refuses_what_does_not_fit) {
  Tensor t = Tensor::empty({4, 3}, DType::f32);
  EXPECT_THROW(t.reshape({5}), Error);
  EXPECT_THROW(t.slice(3, 2), Error);
  EXPECT_THROW(t.data<double>(), Error);
  EXPECT_THROW(Shape({1, 2, 3, 4, 5, 6}), Error);
}

TEST(tensor, extents_whose_product_overflows_are_refused) {
  const int64_t big = int64_t{1} << 31;
  EXPECT_THROW(Tensor::empty({big, big, 2}, DType::f32), Error);
  EXPECT_THROW(Tensor::empty({int64_t{1} << 61}, DType::f64), Error);
}

TEST(tensor, bf16_rounds_to_even_and_keeps_nan) {
  EXPECT_EQ(float(bf16(1.0f)), 1.0f);
  EXPECT_EQ(float(bf16(1.00390625f)), 1.0f);       // half a step above 1: to even, down
  EXPECT_EQ(float(bf16(1.01171875f)), 1.015625f);  // half a step above an odd one: up
  EXPECT_TRUE(std::isnan(float(bf16(std::nanf("")))));
  EXPECT_TRUE(std::isinf(float(bf16(3.4e38f))));
}

// Known answers of Philox4x32-10 from the authors' Random123 distribution.
TEST(tensor, philox_known_answers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(tensor, random_is_a_function_of_its_counter) {
  Random a(7, 3), b(7, 3);
  for (int i = 0; i < 8; ++i) a.bits();
  b.seek(2);
  EXPECT_EQ(a.bits(), b.bits());
}

TEST(tensor, parallel_for_covers_the_range_once_and_passes_errors_on) {
  std::vector<int> hits(1000);
  parallel_for(1000, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) ++hits[i];
  });
  EXPECT_EQ(std::count(hits.begin(), hits.end(), 1), 1000);
  EXPECT_THROW(parallel_for(1000, 1, [](int64_t, int64_t) { fail(Fault::input, "x"); }), Error);
}

}  // namespace metvox
