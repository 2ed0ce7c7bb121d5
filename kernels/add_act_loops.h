// SPDX-License-Identifier: Apache-2.0
// Loops of add_act; T is float or uint16_t (bf16).
#pragma once
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace metvox {

METVOX_ISA_DECLARE(template <class T> void add_act_run(const T* a, const T* b, int64_t n, float slope, T* y);
                   template <class T>
                   void add_act_back_run(const T* y, const T* dy, int64_t n, float slope, bool accumulate, T* dx);)

}  // namespace metvox
