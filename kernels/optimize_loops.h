// SPDX-License-Identifier: Apache-2.0
// Adam's loop: its square root becomes a vector one only where the compiler need not set errno, as in NAME.isa.cpp.
#pragma once
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace metvox {

template <class T>
struct AdamConstants {
  T rate, root, eps, decay, scale, keep1, add1, keep2, add2;  // rate: lr / correction 1; root: sqrt(correction 2)
};

METVOX_ISA_DECLARE(template <class T>
                   void adam_steps(T* w, const T* g, T* m, T* v, int64_t n, const AdamConstants<T>&);)

}  // namespace metvox
