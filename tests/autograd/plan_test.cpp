// SPDX-License-Identifier: Apache-2.0
#include "autograd/plan.h"

#include <gtest/gtest.h>

#include "tensor/random.h"

namespace metvox {
namespace {

Buffer buffer(size_t bytes, int first, int last) {
  Buffer b;
  b.bytes = bytes;
  b.first = first;
  b.last = last;
  return b;
}

}  // namespace

TEST(plan, reuses_memory_of_lives_that_do_not_meet) {
  const Plan plan({buffer(640, 0, 1), buffer(640, 2, 3), buffer(64, 1, 2)});
  EXPECT_EQ(plan.arena_bytes(), 704u);
  EXPECT_EQ(plan.lower_bound_bytes(), 704u);
  EXPECT_EQ(plan.separate_bytes(), 1344u);
  EXPECT_EQ(plan.buffers()[0].offset, plan.buffers()[1].offset);
}

TEST(plan, no_two_living_buffers_share_a_byte) {
  Random random(1, 1);
  std::vector<Buffer> all;
  for (int i = 0; i < 200; ++i) {
    const int first = static_cast<int>(random.below(100));
    all.push_back(
        buffer(static_cast<size_t>(random.below(5000) + 1), first, first + static_cast<int>(random.below(20))));
  }
  const Plan plan(all);
  for (const Buffer& a : plan.buffers())
    for (const Buffer& b : plan.buffers()) {
      if (&a == &b || a.last < b.first || b.last < a.first) continue;
      EXPECT_TRUE(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset);
    }
  EXPECT_GE(plan.arena_bytes(), plan.lower_bound_bytes());
}

}  // namespace metvox
