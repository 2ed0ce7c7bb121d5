// SPDX-License-Identifier: Apache-2.0
// Views as the hot loops (NAME.isa.cpp) take them: bf16 by its bits, since a library's type has no place in them.
#pragma once
#include <type_traits>

#include "tensor/tensor.h"

namespace metvox {

constexpr int64_t kElementGrain = 16384;  // elements worth a thread, where an element costs a few cycles

template <class T>
using Bits = std::conditional_t<std::is_same_v<T, bf16>, uint16_t, T>;

template <class T>
Bits<T>* bits(const View& v) {
  return reinterpret_cast<Bits<T>*>(v.as<T>());
}

}  // namespace metvox
