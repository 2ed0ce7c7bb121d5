// SPDX-License-Identifier: Apache-2.0
// ISA-L's igzip, as gzip.cpp and zip.cpp use it.
#pragma once
#include <immintrin.h>
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>

namespace metvox {

// To be called after ISA-L (2.30), whose checksums leave the upper halves of AVX-512's registers in use: all SSE code
// that comes later then takes several times as long.
__attribute__((target("avx"))) inline void clear_upper_halves() { _mm256_zeroupper(); }

inline int igzip_inflate(inflate_state& state) {
  const int status = isal_inflate(&state);
  if (__builtin_cpu_supports("avx")) clear_upper_halves();
  return status;
}

inline uint32_t igzip_crc32(const void* data, size_t bytes) {
  const uint32_t crc = crc32_gzip_refl(0, static_cast<const unsigned char*>(data), bytes);
  if (__builtin_cpu_supports("avx")) clear_upper_halves();
  return crc;
}

}  // namespace metvox
