// SPDX-License-Identifier: Apache-2.0
// Adam's loop: its square root becomes a vector one only where the compiler need not set errno, as in NAME.isa.cpp.
#pragma once
#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/optimize_bodies.h"

namespace metvox {

METVOX_ISA_DECLARE(template <class T> void adam_steps(T* w, const T* g, T* m, T* v, int64_t n, const AdamStep<T>&);)

}  // namespace metvox
