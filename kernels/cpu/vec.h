// SPDX-License-Identifier: Apache-2.0
// Vec: as many floats as a register of the instruction set being compiled for holds. Only for NAME.isa.cpp: everything
// is in namespace METVOX_ISA, so each copy keeps its own. bf16 is handed over as uint16_t.
#pragma once
#include <immintrin.h>

#include <cstdint>

#ifdef METVOX_ISA
namespace metvox::METVOX_ISA {

#if defined(__AVX512F__)
constexpr int kVecBytes = 64;
#elif defined(__AVX__)
constexpr int kVecBytes = 32;
#else
constexpr int kVecBytes = 16;
#endif
constexpr int kLanes = kVecBytes / 4;

typedef float Vec __attribute__((vector_size(kVecBytes)));
typedef uint32_t VecBits __attribute__((vector_size(kVecBytes)));

inline Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }

// Between 16 and 32 bits by intrinsics: GCC 12 makes five instructions of __builtin_convertvector where there is one,
// and warns wrongly about the intrinsics without maskz.
inline Vec load(const uint16_t* p) {
#if defined(__AVX512F__)
  const VecBits bits =
      (VecBits)_mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(p)));
#elif defined(__AVX2__)
  const VecBits bits = (VecBits)_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(p)));
#else
  const VecBits bits = (VecBits)_mm_cvtepu16_epi32(_mm_loadu_si64(p));
#endif
  return (Vec)(bits << 16);
}
// To nearest, ties to even; a quiet NaN (all that arithmetic makes) stays NaN.
inline void store(uint16_t* p, Vec v) {
  const VecBits bits = (VecBits)v, rounded = (v == v ? bits + 0x7fffu + ((bits >> 16) & 1u) : bits) >> 16;
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(p), _mm512_maskz_cvtepi32_epi16(0xffff, (__m512i)rounded));
#elif defined(__AVX2__)
  const __m256i packed = _mm256_packus_epi32((__m256i)rounded, (__m256i)rounded);
  _mm_storeu_si128(reinterpret_cast<__m128i_u*>(p), _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
#else
  _mm_storeu_si64(p, _mm_packus_epi32((__m128i)rounded, (__m128i)rounded));
#endif
}

// The first n lanes; the others are 0.
template <class T>
Vec load(const T* p, int64_t n) {
  if (n >= kLanes) return load(p);
  T part[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) part[i] = p[i];
  return load(part);
}
template <class T>
void store(T* p, Vec v, int64_t n) {
  if (n >= kLanes) return store(p, v);
  T part[kLanes];
  store(part, v);
  for (int64_t i = 0; i < n; ++i) p[i] = part[i];
}

}  // namespace metvox::METVOX_ISA
#endif
