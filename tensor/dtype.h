// SPDX-License-Identifier: Apache-2.0
// Element types in memory. bf16 and f16 are stored, never computed in: arithmetic happens in float.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "tensor/error.h"
#include "tensor/host_device.h"

namespace metvox {

enum class DType { f64, f32, f16, bf16, u8, i8, i16, i32 };

struct bf16 {
  uint16_t bits;

  bf16() = default;
  // Round to nearest, ties to even; NaN stays NaN.
  METVOX_HD explicit bf16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    bits = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 0x40u : rounded);
  }
  METVOX_HD explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

// IEEE binary16, subnormals included.
struct f16 {
  uint16_t bits;

  f16() = default;
  // Round to nearest, ties to even; beyond 65504 is infinity; NaN stays NaN.
  METVOX_HD explicit f16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value), sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
    uint32_t half;
    if (magnitude > 0x7f800000u) half = 0x7e00u;
    else if (magnitude >= 0x477ff000u) half = 0x7c00u;  // 65520, halfway to what would be 2^16
    else if (magnitude < 0x38800000u) {                 // below 2^-14: adding 1/2 leaves the rounded subnormal's bits
      half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
    } else {
      half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    }
    bits = static_cast<uint16_t>(sign | half);
  }
  METVOX_HD explicit operator float() const {
    const uint32_t sign = (bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    // As a float whose exponent is 112 too small, then times 2^112: right for subnormals too.
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112f));
  }
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
  else if constexpr (std::is_same_v<U, f16>) return DType::f16;
  else if constexpr (std::is_same_v<U, uint8_t>) return DType::u8;
  else if constexpr (std::is_same_v<U, int8_t>) return DType::i8;
  else if constexpr (std::is_same_v<U, int16_t>) return DType::i16;
  else {
    static_assert(std::is_same_v<U, int32_t>, "no DType for this type");
    return DType::i32;
  }
}

// Calls f.template operator()<T>() with T = double, float or bf16: the types in which a CPU computes.
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
