// SPDX-License-Identifier: Apache-2.0
// Volumes in another order of axes.
#pragma once
#include <array>

#include "tensor/tensor.h"

namespace metvox {

// Axis k of the result is axis order[k] of `volume` (three axes); the same memory when nothing moves.
Tensor permute(const Tensor& volume, const std::array<int, 3>& order);
// The same of a part: `out` is filled with what begins at `first`, an index into `volume`.
void permute_part(const Tensor& volume, const Int3& first, const std::array<int, 3>& order, const Tensor& out);
std::array<int, 3> inverse(const std::array<int, 3>& order);

// v[order[0]], v[order[1]], v[order[2]].
template <class T>
std::array<T, 3> permute(const std::array<T, 3>& v, const std::array<int, 3>& order) {
  return {v[static_cast<size_t>(order[0])], v[static_cast<size_t>(order[1])], v[static_cast<size_t>(order[2])]};
}

}  // namespace metvox
