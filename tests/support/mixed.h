// SPDX-License-Identifier: Apache-2.0
// Numbers by formula, for golden data that need not be stored: value i of a stream, in [-1, 1). tests/golden/mixed.py
// has the same.
#pragma once
#include <cstdint>
#include <string>

namespace metvox::test {

inline double mixed(int64_t i, const std::string& stream) {
  uint32_t h = 0x811C9DC5u;  // FNV-1a
  for (unsigned char letter : stream) h = (h ^ letter) * 0x01000193u;
  uint32_t x = static_cast<uint32_t>(i + 1) * 2654435761u + h;
  x = (x ^ x >> 15) * 2246822519u;
  x = (x ^ x >> 13) * 3266489917u;
  x ^= x >> 16;
  return x / 2147483648.0 - 1;
}

}  // namespace metvox::test
