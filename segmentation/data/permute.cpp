// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/permute.h"

#include <algorithm>

#include "tensor/threads.h"

namespace metvox {
namespace {

template <class T>
void copy(const void* from, void* to, const Int3& extent, const Int3& stride) {
  const T* in = static_cast<const T*>(from);
  T* out = static_cast<T*>(to);
  parallel_for(extent[0], 4, [&](int64_t first, int64_t last) {
    T* p = out + first * extent[1] * extent[2];
    for (int64_t a = first; a < last; ++a)
      for (int64_t b = 0; b < extent[1]; ++b) {
        const T* row = in + a * stride[0] + b * stride[1];
        if (stride[2] == 1) {
          p = std::copy_n(row, extent[2], p);
          continue;
        }
        for (int64_t c = 0; c < extent[2]; ++c) *p++ = row[c * stride[2]];
      }
  });
}

}  // namespace

Tensor permute(const Tensor& volume, const std::array<int, 3>& order) {
  check(volume.shape().rank() == 3, "permute: the volume is ", volume.shape(), ", expected three axes");
  if (order == std::array<int, 3>{0, 1, 2}) return volume;
  const Shape& n = volume.shape();
  const Int3 extent = permute(Int3{n[0], n[1], n[2]}, order);
  Tensor out = Tensor::empty({extent[0], extent[1], extent[2]}, volume.dtype());
  permute_part(volume, {0, 0, 0}, order, out);
  return out;
}

void permute_part(const Tensor& volume, const Int3& first, const std::array<int, 3>& order, const Tensor& out) {
  const Shape &n = volume.shape(), &m = out.shape();
  const Int3 extent{m[0], m[1], m[2]}, step{n[1] * n[2], n[2], 1}, size = permute(extent, inverse(order));
  for (int a = 0; a < 3; ++a)
    check(first[static_cast<size_t>(a)] >= 0 && first[static_cast<size_t>(a)] + size[static_cast<size_t>(a)] <= n[a],
          "permute_part: ", m, " is not inside ", n);
  check(out.dtype() == volume.dtype(), "permute_part: two types");
  const int64_t start = first[0] * step[0] + first[1] * step[1] + first[2];
  const auto* from =
      static_cast<const std::byte*>(volume.view().data) + static_cast<size_t>(start) * size_of(volume.dtype());
  const Int3 stride = permute(step, order);
  if (size_of(volume.dtype()) == 4) copy<uint32_t>(from, out.view().data, extent, stride);
  else if (size_of(volume.dtype()) == 1) copy<uint8_t>(from, out.view().data, extent, stride);
  else check(false, "permute_part: ", name_of(volume.dtype()), " is neither 4 nor 1 byte");
}

std::array<int, 3> inverse(const std::array<int, 3>& order) {
  std::array<int, 3> out{};
  for (int k = 0; k < 3; ++k) out[static_cast<size_t>(order[static_cast<size_t>(k)])] = k;
  return out;
}

}  // namespace metvox
