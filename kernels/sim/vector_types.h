// SPDX-License-Identifier: Apache-2.0
// CUDA's built-in vector types for a compiler that is not nvcc: same names, layout and alignment, in the global
// namespace as there.
#pragma once
#include <cstdint>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

#define METVOX_VECTOR_TYPE(T, NAME)                             \
  struct alignas(2 * sizeof(T)) NAME##2 {                       \
    T x, y;                                                     \
  };                                                            \
  struct alignas(4 * sizeof(T)) NAME##4 {                       \
    T x, y, z, w;                                               \
  };                                                            \
  constexpr NAME##2 make_##NAME##2(T x, T y) { return {x, y}; } \
  constexpr NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }

METVOX_VECTOR_TYPE(float, float)
METVOX_VECTOR_TYPE(int, int)
METVOX_VECTOR_TYPE(unsigned, uint)
#undef METVOX_VECTOR_TYPE
