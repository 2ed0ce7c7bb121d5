// SPDX-License-Identifier: Apache-2.0
// One functor body for CPU threads and CUDA grids: for_each(stream, n, f) calls f(i) for i in [0, n). This is the CPU's
// side; kernels/cuda/for_each.h the other.
#pragma once
#include <cstdint>

#include "tensor/device.h"
#include "tensor/error.h"
#include "tensor/threads.h"

namespace metvox {

template <class F>
void for_each(Stream& stream, int64_t n, F f) {
  check(stream.device().is_cpu(), "for_each: not made for ", name_of(stream.device()));
  parallel_for(n, 4096, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) f(i);
  });
}

}  // namespace metvox
