// SPDX-License-Identifier: Apache-2.0
// Element types in memory. bf16 is stored, never computed in: arithmetic happens in float.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "tensor/error.h"

namespace metvox {

enum class DType { f64, f32, f16, bf16, u8, i8, i16, i32 };

struct bf16 {
  uint16_t bits;

  bf16() = default;
  // Round to nearest, ties to even; NaN stays NaN.
  explicit bf16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    bits = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 0x40u : rounded);
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

constexpr size_t size_of(DType t) {
  switch (t) {
    case DType::f64: return 8;
    case DType::f32:
    case DType::i32: return 4;
    case DType::f16:
    case DType::bf16:
    case DType::i16: return 2;
    case DType::u8:
    case DType::i8: return 1;
  }
  return 0;
}

constexpr std::string_view name_of(DType t) {
  switch (t) {
    case DType::f64: return "f64";
    case DType::f32: return "f32";
    case DType::f16: return "f16";
    case DType::bf16: return "bf16";
    case DType::u8: return "u8";
    case DType::i8: return "i8";
    case DType::i16: return "i16";
    case DType::i32: return "i32";
  }
  return "?";
}

template <class T>
constexpr DType dtype_of() {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<U, double>) return DType::f64;
  else if constexpr (std::is_same_v<U, float>) return DType::f32;
  else if constexpr (std::is_same_v<U, bf16>) return DType::bf16;
  else if constexpr (std::is_same_v<U, uint8_t>) return DType::u8;
  else if constexpr (std::is_same_v<U, int8_t>) return DType::i8;
  else if constexpr (std::is_same_v<U, int16_t>) return DType::i16;
  else {
    static_assert(std::is_same_v<U, int32_t>, "no DType for this type");
    return DType::i32;
  }
}

// Calls f.template operator()<T>() with T = double, float or bf16.
template <class F>
decltype(auto) dispatch_float(DType t, F&& f) {
  switch (t) {
    case DType::f64: return f.template operator()<double>();
    case DType::f32: return f.template operator()<float>();
    case DType::bf16: return f.template operator()<bf16>();
    default: fail(Fault::internal, "dispatch_float: ", name_of(t), " is not f64, f32 or bf16");
  }
}

}  // namespace metvox
