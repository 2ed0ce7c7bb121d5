// SPDX-License-Identifier: Apache-2.0
// The alignment of all memory: a cache line, and a vector of AVX-512.
#pragma once
#include <cstddef>

namespace metvox {

constexpr size_t kAlign = 64;
// Bytes rounded up, so that what follows is aligned too.
constexpr size_t aligned(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

}  // namespace metvox
