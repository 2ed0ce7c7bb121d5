// SPDX-License-Identifier: Apache-2.0
// Which voxel of a convolution's input meets which of its output, through which tap: the definition.
#pragma once
#include "kernels/conv3d.h"

namespace metvox {

inline Int3 position(int64_t index, const Int3& extent) {
  return {index / (extent[1] * extent[2]), index / extent[2] % extent[1], index % extent[2]};
}
inline int64_t index_of(const Int3& at, const Int3& extent) { return (at[0] * extent[1] + at[1]) * extent[2] + at[2]; }

// The input voxel that tap t of output voxel o reads, or -1 in the padding.
inline int64_t input_voxel(const Conv3dProblem& p, const Int3& o, const Int3& t) {
  Int3 i;
  for (int a = 0; a < 3; ++a) {
    i[a] = o[a] * p.stride[a] - p.pad[a] + t[a];
    if (i[a] < 0 || i[a] >= p.in[a]) return -1;
  }
  return index_of(i, p.in);
}

// The output voxel that reads input voxel i through tap t, or -1; `out` is p.out().
inline int64_t output_voxel(const Conv3dProblem& p, const Int3& out, const Int3& i, const Int3& t) {
  Int3 o;
  for (int a = 0; a < 3; ++a) {
    const int64_t steps = i[a] + p.pad[a] - t[a];
    o[a] = steps / p.stride[a];
    if (steps < 0 || steps % p.stride[a] != 0 || o[a] >= out[a]) return -1;
  }
  return index_of(o, out);
}

}  // namespace metvox
