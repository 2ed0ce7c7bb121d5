// SPDX-License-Identifier: Apache-2.0
// A block of voxels is turned round to head by head, so that every loop runs along voxels and fills vectors whatever
// the number of heads. Sums run in float within a block, in double from block to block. R is the number of heads, or 0:
// known at run time.
#include "kernels/segmentation_loss_native.h"

namespace metvox::METVOX_ISA {
namespace {

using native::LossHeads;

constexpr int kMaxHeads = 64;
constexpr int kBlock = 64;  // voxels

inline float to_float(float v) { return v; }
inline float to_float(uint16_t v) { return __builtin_bit_cast(float, static_cast<uint32_t>(v) << 16); }
inline void from_float(float& to, float v) { to = v; }
inline void from_float(uint16_t& to, float v) {  // to nearest, ties to even; a quiet NaN stays NaN
  const uint32_t bits = __builtin_bit_cast(uint32_t, v);
  to = static_cast<uint16_t>((v == v ? bits + 0x7fffu + ((bits >> 16) & 1u) : bits) >> 16);
}

// e^x for x <= 0: 2^n e^r with |r| <= ln 2 / 2, Taylor's series to r^7 / 7!. Below e^-87 it stays there.
inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : x;
  const int n = static_cast<int>(x * 1.44269504f - 0.5f);
  const float whole = static_cast<float>(n),
              r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;  // ln 2 in two parts
  const float tail = 1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720 + r * (1.0f / 5040)));
  const float p = 1 + r * (1 + r * (1.0f / 2 + r * (1.0f / 6 + r * tail)));
  return p * __builtin_bit_cast(float, (n + 127) << 23);
}

// log(1 + x) for 0 <= x < 2^20: 1 + x = 2^k (1 + t) with t in (-0.3, 0.42), log(1 + t) = 2 artanh(t / (2 + t)) by its
// series. For small x, k is 0 and t is x itself: every digit stays.
inline float log_plus_one(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, 1 + x);
  const int k = static_cast<int>((bits + 0x004afb0du - 0x3f800000u) >> 23);  // rounds up from sqrt 2
  const float down = __builtin_bit_cast(float, (127 - k) << 23);
  const float t = k == 0 ? x : (1 + x) * down - 1;
  const float s = t / (2 + t), s2 = s * s;
  const float artanh = s * (1 + s2 * (1.0f / 3 + s2 * (1.0f / 5 + s2 * (1.0f / 7 + s2 * (1.0f / 9)))));
  return static_cast<float>(k) * 0.693147181f + 2 * artanh;
}

// What a block of up to kBlock voxels says, head by head. Voxels past the end count as ignored ones.
template <int R>
struct Block {
  static constexpr int kRows = R ? R : kMaxHeads;
  float z[kRows][kBlock], p[kRows][kBlock], g[kRows][kBlock];
  float counts[kBlock];
  float others[kBlock];  // softmax: sum of e^z apart from the arg-max
  int decided[kBlock];   // softmax: arg-max, first wins
};

template <int R, class T>
void read(const T* logits, const uint8_t* labels, int n, const LossHeads& h, Block<R>& b) {
  const int heads = R ? R : h.count;
  uint64_t member[kBlock];
  for (int v = 0; v < n; ++v) {
    b.counts[v] = h.counts[labels[v]];
    member[v] = h.heads_of[labels[v]];
    for (int r = 0; r < heads; ++r) b.z[r][v] = to_float(logits[v * heads + r]);
  }
  for (int v = n; v < kBlock; ++v) {
    b.counts[v] = 0;
    member[v] = 0;
    for (int r = 0; r < heads; ++r) b.z[r][v] = 0;
  }
  for (int r = 0; r < heads; ++r)
    for (int v = 0; v < kBlock; ++v) b.g[r][v] = static_cast<float>(static_cast<int>((member[v] >> r) & 1));
}

// From here on z is relative to the voxel's largest: written to memory before use, where no reassociation undoes it.
template <int R>
void softmax(int heads, Block<R>& b) {
  float top[kBlock];
  for (int v = 0; v < kBlock; ++v) top[v] = b.z[0][v], b.decided[v] = 0, b.others[v] = 0;
  for (int r = 1; r < heads; ++r)
    for (int v = 0; v < kBlock; ++v) {
      b.decided[v] = b.z[r][v] > top[v] ? r : b.decided[v];
      top[v] = b.z[r][v] > top[v] ? b.z[r][v] : top[v];
    }
  for (int r = 0; r < heads; ++r)
    for (int v = 0; v < kBlock; ++v) {
      b.z[r][v] -= top[v];
      b.p[r][v] = exponential(b.z[r][v]);
      b.others[v] += b.decided[v] == r ? 0 : b.p[r][v];
    }
  for (int r = 0; r < heads; ++r)
    for (int v = 0; v < kBlock; ++v) b.p[r][v] /= 1 + b.others[v];
}

inline float sigmoid(float z, float e) { return (z < 0 ? e : 1.0f) / (1 + e); }  // e = e^-|z|
inline float magnitude(float z) { return z < 0 ? -z : z; }

// The voxel terms of head r, whether it is decided for, and p where softmax has not yet made it.
template <int R>
void sigmoid_terms(int r, float positive_weight, Block<R>& b, float* term, float* summands, float* hit) {
  for (int v = 0; v < kBlock; ++v) {
    const float z = b.z[r][v], g = b.g[r][v], e = exponential(-magnitude(z));
    const float wrong = (z > 0 ? 1.0f : 0.0f) == g ? 0.0f : magnitude(z);
    b.p[r][v] = sigmoid(z, e);
    term[v] += (1 + positive_weight * g) * (wrong + log_plus_one(e));
    summands[v] += 1;
    hit[v] = z > 0 ? 1.0f : 0.0f;
  }
}
template <int R>
void softmax_terms(int r, const Block<R>& b, float* term, float* summands, float* hit) {
  for (int v = 0; v < kBlock; ++v) {
    const float g = b.g[r][v];
    term[v] += g * (log_plus_one(b.others[v]) - b.z[r][v]);
    summands[v] = g > 0 ? 1.0f : summands[v];
    hit[v] = b.decided[v] == r ? 1.0f : 0.0f;
  }
}

void add_head(const float* p, const float* g, const float* hit, const float* counts, double* sums) {
  float i = 0, all_p = 0, all_g = 0, both = 0, all_hit = 0;
  for (int v = 0; v < kBlock; ++v) {
    i += p[v] * g[v];  // g of an ignored voxel is 0
    all_p += p[v] * counts[v];
    all_g += g[v];
    both += hit[v] * g[v];
    all_hit += hit[v] * counts[v];
  }
  const float to[6] = {i, all_p, all_g, both, all_hit - both, all_g - both};
  for (int k = 0; k < 6; ++k) sums[k] += static_cast<double>(to[k]);
}

template <int R, class T>
void sums_of(const T* logits, const uint8_t* labels, int64_t voxels, const LossHeads& h, double* sums) {
  const int heads = R ? R : h.count;
  Block<R> b;
  for (int64_t first = 0; first < voxels; first += kBlock) {
    const int n = voxels - first < kBlock ? static_cast<int>(voxels - first) : kBlock;
    read<R>(logits + first * heads, labels + first, n, h, b);
    float term[kBlock] = {}, summands[kBlock] = {}, hit[kBlock];
    if (h.softmax) softmax<R>(heads, b);
    for (int r = 0; r < heads; ++r) {
      if (h.softmax) softmax_terms<R>(r, b, term, summands, hit);
      else sigmoid_terms<R>(r, h.positive_weight, b, term, summands, hit);
      add_head(b.p[r], b.g[r], hit, b.counts, sums + r * 6);
    }
    float sum = 0, count = 0;
    for (int v = 0; v < kBlock; ++v) {
      sum += term[v] * b.counts[v];
      count += summands[v] * b.counts[v];
    }
    sums[heads * 6] += static_cast<double>(sum);
    sums[heads * 6 + 1] += static_cast<double>(count);
  }
}

template <int R, class T>
void gradient_of(const T* logits, const uint8_t* labels, int64_t voxels, const LossHeads& h, const float* c,
                 float weight, bool accumulate, T* dlogits) {
  const int heads = R ? R : h.count;
  Block<R> b;
  for (int64_t first = 0; first < voxels; first += kBlock) {
    const int n = voxels - first < kBlock ? static_cast<int>(voxels - first) : kBlock;
    read<R>(logits + first * heads, labels + first, n, h, b);
    if (h.softmax) {
      softmax<R>(heads, b);
      float mean[kBlock] = {}, truths[kBlock] = {};  // sum of p dL/dp, sum of g
      for (int r = 0; r < heads; ++r)
        for (int v = 0; v < kBlock; ++v) {
          mean[v] += b.p[r][v] * (c[2 * r] * b.g[r][v] + c[2 * r + 1]);
          truths[v] += b.g[r][v];
        }
      for (int r = 0; r < heads; ++r)
        for (int v = 0; v < kBlock; ++v) {
          const float p = b.p[r][v], g = b.g[r][v];
          b.z[r][v] = b.counts[v] * (p * (c[2 * r] * g + c[2 * r + 1] - mean[v]) + weight * (truths[v] * p - g));
        }
    } else {
      for (int r = 0; r < heads; ++r)
        for (int v = 0; v < kBlock; ++v) {
          const float z = b.z[r][v], g = b.g[r][v], e = exponential(-magnitude(z)), p = sigmoid(z, e);
          const float q = sigmoid(-z, e), apart = g > 0 ? -q : p;  // 1 - p and p - g with all their digits
          b.z[r][v] =
              b.counts[v] * ((c[2 * r] * g + c[2 * r + 1]) * p * q + weight * (1 + h.positive_weight * g) * apart);
        }
    }
    T* to = dlogits + first * heads;
    for (int v = 0; v < n; ++v)
      for (int r = 0; r < heads; ++r) {
        T& dz = to[v * heads + r];
        from_float(dz, b.z[r][v] + (accumulate ? to_float(dz) : 0.0f));
      }
  }
}

template <class F>
void with_heads(int count, F f) {
  switch (count) {
    case 1: return f.template operator()<1>();
    case 2: return f.template operator()<2>();
    case 3: return f.template operator()<3>();
    case 4: return f.template operator()<4>();
    case 5: return f.template operator()<5>();
    case 6: return f.template operator()<6>();
    case 7: return f.template operator()<7>();
    case 8: return f.template operator()<8>();
    default: return f.template operator()<0>();
  }
}

}  // namespace

template <class T>
void loss_sums(const T* logits, const uint8_t* labels, int64_t voxels, const LossHeads& h, double* sums) {
  with_heads(h.count, [&]<int R>() { sums_of<R>(logits, labels, voxels, h, sums); });
}

template <class T>
void loss_gradient(const T* logits, const uint8_t* labels, int64_t voxels, const LossHeads& h,
                   const float* coefficients, float voxel_weight, bool accumulate, T* dlogits) {
  with_heads(h.count, [&]<int R>() {
    gradient_of<R>(logits, labels, voxels, h, coefficients, voxel_weight, accumulate, dlogits);
  });
}

#define METVOX_INSTANTIATE(T)                                                               \
  template void loss_sums<T>(const T*, const uint8_t*, int64_t, const LossHeads&, double*); \
  template void loss_gradient<T>(const T*, const uint8_t*, int64_t, const LossHeads&, const float*, float, bool, T*);
METVOX_INSTANTIATE(float)
METVOX_INSTANTIATE(uint16_t)
#undef METVOX_INSTANTIATE

}  // namespace metvox::METVOX_ISA
