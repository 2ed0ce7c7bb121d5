// SPDX-License-Identifier: Apache-2.0
#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tensor/random.h"

namespace metvox {
namespace {

// The compiler's own half precision is the oracle.
__extension__ typedef _Float16 Oracle;

uint16_t oracle_bits(float value) {
  const Oracle half = static_cast<Oracle>(value);
  uint16_t bits;
  std::memcpy(&bits, &half, sizeof bits);
  return bits;
}

}  // namespace

TEST(dtype, f16_of_every_bit_pattern) {
  for (int pattern = 0; pattern < 65536; ++pattern) {
    const auto bits = static_cast<uint16_t>(pattern);
    Oracle half;
    std::memcpy(&half, &bits, sizeof half);
    const float expected = static_cast<float>(half), got = static_cast<float>(std::bit_cast<f16>(bits));
    if (std::isnan(expected)) ASSERT_TRUE(std::isnan(got)) << pattern;
    else ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(expected)) << pattern;
  }
}

TEST(dtype, f16_rounds_to_nearest_even) {
  Random random(7, 1);
  for (int i = 0; i < 300000; ++i) {
    const auto value = std::bit_cast<float>(static_cast<uint32_t>(random.below(int64_t{1} << 32)));
    if (std::isnan(value)) EXPECT_TRUE(std::isnan(static_cast<float>(f16(value))));
    else ASSERT_EQ(f16(value).bits, oracle_bits(value)) << value;
  }
  // Each midpoint between neighbours, and its two neighbours among the floats.
  for (int pattern = 0; pattern < 0x7c00; ++pattern) {
    const float low = static_cast<float>(std::bit_cast<f16>(static_cast<uint16_t>(pattern)));
    const float high =
        pattern == 0x7bff ? 65536.0f : static_cast<float>(std::bit_cast<f16>(static_cast<uint16_t>(pattern + 1)));
    const float middle = low + (high - low) / 2;
    for (float value : {std::nextafter(middle, 0.0f), middle, std::nextafter(middle, 1e9f), -middle})
      ASSERT_EQ(f16(value).bits, oracle_bits(value)) << value;
  }
}

}  // namespace metvox
