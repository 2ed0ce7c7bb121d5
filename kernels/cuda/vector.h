// SPDX-License-Identifier: Apache-2.0
// Neighbouring elements as one access of 16 bytes, read as floats: for kernels that are bound by memory. V is the
// elements of an access, kVector<T> of them where the extents allow it, else 1.
#pragma once
#include "kernels/cuda/kernel.h"

namespace metvox::METVOX_KERNEL_NS {

template <class T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));

template <class T, int V>
struct Pack {
  static_assert(V == 1 || V == kVector<T>);
  static constexpr int kWords = V == 1 ? 1 : 4;
  uint32_t word[kWords];

  // p is a multiple of 16 bytes where V is above 1.
  METVOX_DEVICE void load(const T* p) {
    if constexpr (V == 1) {
      if constexpr (sizeof(T) == 4) word[0] = bits_as<uint32_t>(*p);
      else word[0] = p->bits;
    } else {
      const uint4 v = load16(p);
      word[0] = v.x, word[1] = v.y, word[2] = v.z, word[3] = v.w;
    }
  }
  METVOX_DEVICE void store(T* p) const {
    if constexpr (V > 1) store16(p, make_uint4(word[0], word[1], word[2], word[3]));
    else if constexpr (sizeof(T) == 4) *p = bits_as<T>(word[0]);
    else *p = bits_as<T>(static_cast<uint16_t>(word[0]));
  }

  METVOX_DEVICE float get(int i) const {  // i known to the compiler, lest the words leave their registers
    if constexpr (sizeof(T) == 4) return bits_as<float>(word[i]);
    else return to_float(bits_as<T>(static_cast<uint16_t>(word[i / 2] >> i % 2 * 16)));
  }
  METVOX_DEVICE void get(float (&v)[V]) const {
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] = get(i);
  }
  // Rounded to nearest.
  METVOX_DEVICE void set(const float (&v)[V]) {
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      if constexpr (sizeof(T) == 4) word[i] = bits_as<uint32_t>(v[i]);
      else if constexpr (V == 1) word[i] = from_float<T>(v[i]).bits;
      else word[i] = pack<T>(v[2 * i], v[2 * i + 1]);
    }
  }
};

// ---- the host's side ----

// f.template operator()<T>() with T = float, bf16 or f16: the types in which a GPU keeps activations.
template <class F>
void dispatch_type(DType t, F&& f) {
  switch (t) {
    case DType::f32: return f.template operator()<float>();
    case DType::bf16: return f.template operator()<bf16>();
    case DType::f16: return f.template operator()<f16>();
    default: fail(Fault::internal, "a GPU's kernel got ", name_of(t));
  }
}

// f.template operator()<V>() with the widest access for rows of c elements.
template <class T, class F>
void dispatch_vector(int64_t c, F&& f) {
  if (c % kVector<T> == 0) f.template operator()<kVector<T>>();
  else f.template operator()<1>();
}

}  // namespace metvox::METVOX_KERNEL_NS
