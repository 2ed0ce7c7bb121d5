// SPDX-License-Identifier: Apache-2.0
#include "kernels/avg_pool.h"

#include "tests/support/real_numbers.h"

namespace metvox {
namespace {

using test::GuardedTensor;

const DType kFloats[] = {DType::f64, DType::f32, DType::bf16};

// The numbers 0, 1, 2, ... of an image of one channel.
Tensor counted(const Shape& shape) {
  Tensor t = Tensor::empty(shape, DType::f64);
  for (int64_t i = 0; i < t.size(); ++i) t.data<double>()[i] = static_cast<double>(i);
  return t;
}

}  // namespace

// Of 0 ... 23 in an image of 2 x 3 x 4, boxes of 2 x 1 x 2: 0 1 12 13 -> 6.5, 2 3 14 15 -> 8.5, and 4 more a row.
TEST(avg_pool, worked_by_hand) {
  Stream stream;
  for (DType t : kFloats) {
    const GuardedTensor x(counted({1, 1, 2, 3, 4}), t), y(test::filled({1, 1, 1, 3, 2}, DType::f64, NAN), t);
    avg_pool(stream, x.view(), {2, 1, 2}, y.view());
    const Tensor means = y.in_double();
    for (int i = 0; i < 6; ++i) EXPECT_EQ(means.data<double>()[i], 6.5 + 4 * (i / 2) + 2 * (i % 2)) << name_of(t);
  }
}

// Each of a box's voxels gets its share, channel by channel; 33 channels are two vectors and a rest.
TEST(avg_pool, backward_shares_out) {
  Stream stream;
  const Int3 stride{1, 2, 2};
  const Shape large{2, 33, 2, 4, 6}, small = avg_pool_shape(large, stride);
  for (DType t : kFloats) {
    Random random(3, 1);
    const Tensor dy = test::normal_numbers(small, random, t);
    const GuardedTensor from(dy, t), to(test::filled(large, DType::f64, 1), t);
    for (Grad grad : {Grad::ignore, Grad::accumulate, Grad::overwrite}) {
      avg_pool_backward(stream, from.view(), stride, to.view(), grad);
      const Tensor dx = to.in_double();
      for (int64_t i = 0; i < dx.size(); ++i) {
        const int64_t c = i % 33, x = i / 33 % 6, y = i / (33 * 6) % 4, slice = i / (33 * 24);
        const double share = dy.data<double>()[((slice * 2 + y / 2) * 3 + x / 2) * 33 + c] / 4;
        const double expected = grad == Grad::ignore ? 1 : grad == Grad::accumulate ? 1 + share : share;
        ASSERT_NEAR(dx.data<double>()[i], expected, test::epsilon(t) * (1 + std::abs(share))) << name_of(t) << ' ' << i;
      }
    }
  }
}

TEST(avg_pool, refuses_boxes_that_do_not_tile) { EXPECT_THROW(avg_pool_shape({1, 1, 4, 5, 4}, {2, 2, 2}), Error); }

}  // namespace metvox
