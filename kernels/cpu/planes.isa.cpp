// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/planes.h"

#include <cstddef>

#ifdef __AVX512F__
#include <immintrin.h>
#endif
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors wider than the machine's are passed between inlined functions only

namespace metvox::native::METVOX_ISA {
namespace {

// As many accumulators as the registers hold: outputs times vectors (or taps).
#if defined(__AVX512F__)
constexpr int kLanes = 16, kBlock = 8;
#elif defined(__AVX__)
constexpr int kLanes = 8, kBlock = 4;
#else
constexpr int kLanes = 4, kBlock = 4;
#endif
constexpr int kWide = 3;

typedef float Vector __attribute__((vector_size(kLanes * 4)));
template <class T>
struct Row8 {
  typedef T type __attribute__((vector_size(8 * sizeof(T))));
};

template <class V, class T>
inline __attribute__((always_inline)) V load(const T* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class T>
inline __attribute__((always_inline)) void store(T* p, V v) {
  __builtin_memcpy(p, &v, sizeof v);
}

// 8 voxels of N channels, one after the other in N vectors of 8, become N channels of 8 voxels, and back for N = 8:
// a perfect shuffle moves the highest bit of every element's index to the bottom, three of them the voxel's.
template <int N, class V>
inline __attribute__((always_inline)) void transpose(V (&r)[N]) {
  for (int round = 0; round < 3; ++round) {
    V s[N];
    for (int i = 0; i < N / 2; ++i) {
      s[2 * i] = __builtin_shufflevector(r[i], r[i + N / 2], 0, 8, 1, 9, 2, 10, 3, 11);
      s[2 * i + 1] = __builtin_shufflevector(r[i], r[i + N / 2], 4, 12, 5, 13, 6, 14, 7, 15);
    }
    for (int i = 0; i < N; ++i) r[i] = s[i];
  }
}

// As many whole groups of 8 voxels as a row has; N channels, each voxel `stride` elements behind the last.
template <int N, class T>
int64_t spread_groups(const T* image, int64_t columns, int64_t stride, T* planes, int64_t plane) {
  using V = typename Row8<T>::type;
  int64_t w = 0;
  for (; w + 8 <= columns; w += 8) {
    V r[N];
    for (int i = 0; i < N; ++i) r[i] = load<V>(image + w * stride + i * (N == 8 ? stride : 8));
    transpose(r);
    for (int c = 0; c < N; ++c) store(planes + c * plane + w, r[c]);
  }
  return w;
}

// Up to 8 channels of a row of voxels, channels-last, into as many planes.
template <class T>
void spread_row(const T* image, int64_t columns, int64_t channels, int64_t stride, T* planes, int64_t plane) {
  int64_t w = 0;
  if (channels == 8) w = spread_groups<8>(image, columns, stride, planes, plane);
  if (channels == 4 && stride == 4) w = spread_groups<4>(image, columns, stride, planes, plane);
  for (; w < columns; ++w)
    for (int64_t c = 0; c < channels; ++c) planes[c * plane + w] = image[w * stride + c];
}

template <class T>
void spread(const T* image, int64_t rows, int64_t columns, int64_t channels, int64_t stride, T* planes, int64_t plane,
            int64_t pitch) {
  for (int64_t h = 0; h < rows; ++h)
    for (int64_t c = 0; c < channels; c += 8)
      spread_row(image + h * columns * stride + c, columns, channels - c < 8 ? channels - c : 8, stride,
                 planes + c * plane + h * pitch, plane);
}

typedef uint32_t Bits8 __attribute__((vector_size(32)));
typedef uint16_t Half8 __attribute__((vector_size(16)));
typedef float Float8 __attribute__((vector_size(32)));

inline __attribute__((always_inline)) Half8 rounded(Float8 value) {
  const Bits8 u = (Bits8)value;
  const Bits8 even = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16, nan = (u >> 16) | 0x40u;
  const Bits8 bits = ((u & 0x7fffffffu) > 0x7f800000u) ? nan : even;
  return __builtin_convertvector(bits, Half8);
}
inline __attribute__((always_inline)) Float8 widened(Half8 half) {
  return (Float8)(__builtin_convertvector(half, Bits8) << 16);
}

inline __attribute__((always_inline)) void put8(float* p, Float8 v, bool add) {
  store(p, add ? v + load<Float8>(p) : v);
}
inline __attribute__((always_inline)) void put8(uint16_t* p, Float8 v, bool add) {
  store(p, rounded(add ? v + widened(load<Half8>(p)) : v));
}

template <class T>
void gather(const float* planes, int64_t plane, int64_t pitch, int64_t rows, int64_t columns, int64_t channels,
            int64_t stride, bool add, T* image) {
  for (int64_t h = 0; h < rows; ++h)
    for (int64_t w = 0; w < columns; w += 8) {
      Float8 r[8];
      for (int k = 0; k < 8; ++k) r[k] = load<Float8>(planes + (k < channels ? k : 0) * plane + h * pitch + w);
      transpose(r);
      for (int i = 0; i < 8 && w + i < columns; ++i) {
        T* voxel = image + (h * columns + w + i) * stride;
        if (channels == 8) {
          put8(voxel, r[i], add);
          continue;
        }
        T few[8] = {};
        __builtin_memcpy(few, voxel, static_cast<size_t>(channels) * sizeof(T));
        put8(few, r[i], add);
        __builtin_memcpy(voxel, few, static_cast<size_t>(channels) * sizeof(T));
      }
    }
}

// `add` adds one tap of one channel to the block of accumulators.
template <class Add, class T>
inline __attribute__((always_inline)) void convolve(const PlaneSlice& s, const T* weights, const float* bias,
                                                    float* out, int64_t plane, Add add) {
  for (int k0 = 0; k0 < kOutputs; k0 += kBlock)
    for (int64_t j = 0; j < s.positions; j += kLanes * kWide) {
      Vector sum[kBlock][kWide];
#pragma GCC unroll 8
      for (int k = 0; k < kBlock; ++k)
#pragma GCC unroll 3
        for (int i = 0; i < kWide; ++i) sum[k][i] = Vector{} + bias[k0 + k];
      const T* w = weights + k0;
      for (int64_t d = 0; d < s.taps_d; ++d)
        for (int64_t c = 0; c < s.channels; ++c)
          for (int64_t h = 0; h < s.taps_h; ++h) {
            const T* x = static_cast<const T*>(s.source[d]) + c * s.plane + h * s.pitch + j;
            for (int64_t t = 0; t < s.taps_w; ++t, ++x, w += kOutputs) add(sum, x, w);
          }
#pragma GCC unroll 8
      for (int k = 0; k < kBlock; ++k)
#pragma GCC unroll 3
        for (int i = 0; i < kWide; ++i) store(out + (k0 + k) * plane + j + i * kLanes, sum[k][i]);
    }
}

// For each tap (d, h) and channel: 8 outputs by the taps of a row, over all positions. Positions come in stretches that
// stay in the first cache with all channels' rows; `step` of them a vector.
template <int kTaps, class Add, class T>
inline __attribute__((always_inline)) void correlate(const PlaneSlice& s, const T* dy, int64_t dy_plane, float* sums,
                                                     int64_t step, Add add) {
  constexpr int64_t kBytes = 30000;  // of dy, in a first cache of 32 to 48 KiB
  const int64_t stretches = 1 + s.positions * kOutputs * static_cast<int64_t>(sizeof(T)) / kBytes;
  const int64_t stretch = (s.positions / stretches + 2 * kSumLanes) / (2 * kSumLanes) * (2 * kSumLanes);
  for (int64_t first = 0; first < s.positions; first += stretch) {
    const int64_t last = first + stretch < s.positions ? first + stretch : s.positions;
    float* total = sums;
    for (int64_t d = 0; d < s.taps_d; ++d)
      for (int64_t c = 0; c < s.channels; ++c)
        for (int64_t h = 0; h < s.taps_h; ++h, total += kOutputs * kTaps * kSumLanes)
          for (int k0 = 0; k0 < kOutputs; k0 += kBlock) {
            const T* x = static_cast<const T*>(s.source[d]) + c * s.plane + h * s.pitch;
            Vector sum[kBlock][kTaps];
            float* to = total + k0 * kTaps * kSumLanes;
#pragma GCC unroll 8
            for (int k = 0; k < kBlock; ++k)
#pragma GCC unroll 3
              for (int t = 0; t < kTaps; ++t) sum[k][t] = load<Vector>(to + (k * kTaps + t) * kSumLanes);
            for (int64_t j = first; j < last; j += step) add(sum, x + j, dy + k0 * dy_plane + j);
#pragma GCC unroll 8
            for (int k = 0; k < kBlock; ++k)
#pragma GCC unroll 3
              for (int t = 0; t < kTaps; ++t) store(to + (k * kTaps + t) * kSumLanes, sum[k][t]);
          }
  }
}

template <int kTaps>
void correlate_f32_taps(const PlaneSlice& s, const float* dy, int64_t dy_plane, float* sums) {
  correlate<kTaps>(s, dy, dy_plane, sums, kLanes, [=](Vector(&sum)[kBlock][kTaps], const float* x, const float* g) {
    Vector v[kTaps];
#pragma GCC unroll 3
    for (int t = 0; t < kTaps; ++t) v[t] = load<Vector>(x + t);
#pragma GCC unroll 8
    for (int k = 0; k < kBlock; ++k) {
      Vector gradient = load<Vector>(g + k * dy_plane);
      asm("" : "+x"(gradient));  // one load for all taps, not one each
#pragma GCC unroll 3
      for (int t = 0; t < kTaps; ++t) sum[k][t] += gradient * v[t];
    }
  });
}

#ifdef __AVX512F__
#pragma GCC push_options
#pragma GCC target("avx512bf16")

template <int kTaps>
void correlate_bf16_taps(const PlaneSlice& s, const uint16_t* dy, int64_t dy_plane, float* sums) {
  correlate<kTaps>(s, dy, dy_plane, sums, 2 * kLanes,
                   [=](Vector(&sum)[kBlock][kTaps], const uint16_t* x, const uint16_t* g) {
                     __m512bh v[kTaps];
#pragma GCC unroll 3
                     for (int t = 0; t < kTaps; ++t) v[t] = (__m512bh)_mm512_loadu_si512(x + t);
#pragma GCC unroll 8
                     for (int k = 0; k < kBlock; ++k) {
                       __m512i loaded = _mm512_loadu_si512(g + k * dy_plane);
                       asm("" : "+v"(loaded));  // one load for all taps, not one each
                       const __m512bh gradient = (__m512bh)loaded;
#pragma GCC unroll 3
                       for (int t = 0; t < kTaps; ++t) sum[k][t] = _mm512_dpbf16_ps(sum[k][t], gradient, v[t]);
                     }
                   });
}
#pragma GCC pop_options
#endif

}  // namespace

void planes_from_rows(const void* image, int64_t rows, int64_t columns, int64_t channels, int64_t stride, int element,
                      void* planes, int64_t plane, int64_t pitch) {
  if (element == 2)
    spread(static_cast<const uint16_t*>(image), rows, columns, channels, stride, static_cast<uint16_t*>(planes), plane,
           pitch);
  else
    spread(static_cast<const uint32_t*>(image), rows, columns, channels, stride, static_cast<uint32_t*>(planes), plane,
           pitch);
}

void pair_planes_from_rows(const uint16_t* image, int64_t rows, int64_t columns, int64_t channels, uint16_t* planes,
                           int64_t plane, int64_t pitch) {
  if (channels % 2 == 0)
    return planes_from_rows(image, rows, columns, channels / 2, channels / 2, 4, planes, plane, pitch);
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t h = 0; h < rows; ++h)
      for (int64_t w = 0; w < columns; ++w)
        planes[2 * (c / 2 * plane + h * pitch + w) + c % 2] = image[(h * columns + w) * channels + c];
}

void rows_from_planes_f32(const float* planes, int64_t plane, int64_t pitch, int64_t rows, int64_t columns,
                          int64_t channels, int64_t stride, bool add, float* image) {
  gather(planes, plane, pitch, rows, columns, channels, stride, add, image);
}
void rows_from_planes_bf16(const float* planes, int64_t plane, int64_t pitch, int64_t rows, int64_t columns,
                           int64_t channels, int64_t stride, bool add, uint16_t* image) {
  gather(planes, plane, pitch, rows, columns, channels, stride, add, image);
}

void convolve_f32(const PlaneSlice& s, const float* w, const float* bias, float* out, int64_t plane) {
  convolve(s, w, bias, out, plane, [](Vector(&sum)[kBlock][kWide], const float* x, const float* weights) {
    Vector v[kWide];
#pragma GCC unroll 3
    for (int i = 0; i < kWide; ++i) v[i] = load<Vector>(x + i * kLanes);
#pragma GCC unroll 8
    for (int k = 0; k < kBlock; ++k)
#pragma GCC unroll 3
      for (int i = 0; i < kWide; ++i) sum[k][i] += v[i] * weights[k];
  });
}

void correlate_f32(const PlaneSlice& s, const float* dy, int64_t dy_plane, float* sums) {
  if (s.taps_w == 1) correlate_f32_taps<1>(s, dy, dy_plane, sums);
  else correlate_f32_taps<3>(s, dy, dy_plane, sums);
}

#ifdef __AVX512F__
#pragma GCC push_options
#pragma GCC target("avx512bf16")
void convolve_pairs(const PlaneSlice& s, const uint32_t* w, const float* bias, float* out, int64_t plane) {
  convolve(s, w, bias, out, plane, [](Vector(&sum)[kBlock][kWide], const uint32_t* x, const uint32_t* weights) {
    __m512bh v[kWide];
#pragma GCC unroll 3
    for (int i = 0; i < kWide; ++i) v[i] = (__m512bh)_mm512_loadu_si512(x + i * kLanes);
#pragma GCC unroll 8
    for (int k = 0; k < kBlock; ++k) {
      const __m512bh weight = (__m512bh)_mm512_set1_epi32(static_cast<int>(weights[k]));
#pragma GCC unroll 3
      for (int i = 0; i < kWide; ++i) sum[k][i] = _mm512_dpbf16_ps(sum[k][i], v[i], weight);
    }
  });
}
#pragma GCC pop_options
void correlate_bf16(const PlaneSlice& s, const uint16_t* dy, int64_t dy_plane, float* sums) {
  if (s.taps_w == 1) correlate_bf16_taps<1>(s, dy, dy_plane, sums);
  else correlate_bf16_taps<3>(s, dy, dy_plane, sums);
}
#else
// Never called: the engine declines bf16 without its instructions.
void convolve_pairs(const PlaneSlice&, const uint32_t*, const float*, float*, int64_t) {}
void correlate_bf16(const PlaneSlice&, const uint16_t*, int64_t, float*) {}
#endif

}  // namespace metvox::native::METVOX_ISA
