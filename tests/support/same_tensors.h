// SPDX-License-Identifier: Apache-2.0
// Two safetensors files hold the same tensors, bit for bit.
#pragma once
#include <gtest/gtest.h>

#include <cstring>

#include "io/safetensors.h"

namespace metvox {

inline void expect_same_tensors(const Path& a, const Path& b) {
  const SafeTensors x = read_safetensors(a), y = read_safetensors(b);
  ASSERT_EQ(x.tensors.size(), y.tensors.size());
  for (const auto& [name, tensor] : x.tensors) {
    ASSERT_TRUE(y.tensors.contains(name)) << name;
    ASSERT_EQ(tensor.bytes(), y.tensors.at(name).bytes()) << name;
    EXPECT_EQ(std::memcmp(tensor.view().data, y.tensors.at(name).view().data, tensor.bytes()), 0) << name;
  }
}

}  // namespace metvox
