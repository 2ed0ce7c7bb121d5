// SPDX-License-Identifier: Apache-2.0
// Where the sums of a gathered product go, for the kernels that make them: each row's voxel, one of two outputs, the
// bias, what is there already. Where K is split they go to scratch, from which a second kernel adds them in order.
#pragma once
#include <algorithm>

#include "kernels/cuda/gather_gemm.h"
#include "kernels/cuda/vector.h"

namespace metvox::METVOX_KERNEL_NS {

struct Part {
  Taps taps;
  int to_origin[3], to_step[3];
  int steps;           // along K
  bool in_order;       // row r is voxel r of the output
  int64_t weight_row;  // where its packed weights begin, in rows
  int64_t first_row;   // among the rows of all parts
};

template <class T>
struct Destination {
  const float* bias;
  T* to[2];
  int to_c[2];
  Grad grad[2];
  int columns, block_columns, block_offset[kMaxTaps], to_extent[3];
  bool whole_pieces;  // 16 bytes of a row of the product are 16 aligned bytes of one output
  int padded_columns, splits;
  float* sums;  // [split][row of all parts][padded column], if split
  int64_t all_rows;
  int parts;
  Part part[kMaxParts];
};

// kVector<T> neighbouring sums of a row to where they belong; in whole pieces they become what is stored.
template <class T>
METVOX_DEVICE void store_piece(const Destination<T>& a, const Part& part, int row, int column, float (&v)[kVector<T>]) {
  int64_t voxel = row;
  if (!part.in_order) {
    const RowPosition o(part.taps, row);
    voxel = o.n;
#pragma unroll
    for (int i = 0; i < 3; ++i) voxel = voxel * a.to_extent[i] + o.at[i] * part.to_step[i] + part.to_origin[i];
  }
  const auto store = [&](int c, auto pack, auto& values) {
    const int block = c / a.block_columns, in_block = c - block * a.block_columns;
    const bool second = in_block >= a.to_c[0];
    if (a.grad[second] == Grad::ignore) return;
    T* to = a.to[second] + (voxel + a.block_offset[block]) * a.to_c[second] + in_block - (second ? a.to_c[0] : 0);
    constexpr int kCount = sizeof(values) / sizeof(float);
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] += a.bias[c + i];
    if (a.grad[second] == Grad::accumulate) {
      float old[kCount];
      pack.load(to);
      pack.get(old);
#pragma unroll
      for (int i = 0; i < kCount; ++i) values[i] += old[i];
    }
    pack.set(values);
    pack.store(to);
    pack.get(values);
  };
  if (a.whole_pieces) {
    if (column < a.columns) store(column, Pack<T, kVector<T>>{}, v);
  } else {
#pragma unroll
    for (int i = 0; i < kVector<T>; ++i) {
      float one[1] = {v[i]};
      if (column + i < a.columns) store(column + i, Pack<T, 1>{}, one);
    }
  }
}

// The same in a block that has the sums of one split.
template <class T>
METVOX_DEVICE void store_sums(const Destination<T>& a, const Part& part, int row, int column, int split,
                              float (&v)[kVector<T>]) {
  if (a.splits == 1) return store_piece(a, part, row, column, v);
  float* to = a.sums + (split * a.all_rows + part.first_row + row) * a.padded_columns + column;
#pragma unroll
  for (int j = 0; j < kVector<T>; j += 4)
    store16(to + j, bits_as<uint4>(make_float4(v[j], v[j + 1], v[j + 2], v[j + 3])));
}

// Columns [first, last) of the product belong to outputs that nobody wants.
template <class T>
METVOX_DEVICE bool ignored(const Destination<T>& a, int first, int last) {
  if (a.block_columns < a.columns) return false;
  return (first >= a.to_c[0] || a.grad[0] == Grad::ignore) && (last <= a.to_c[0] || a.grad[1] == Grad::ignore);
}

// Adds the splits in order. A thread for each piece; left to itself, ptxas spills to keep to 40 registers (sm_100).
template <class T>
__global__ void __launch_bounds__(256, 4) add_splits(const __grid_constant__ Destination<T> a) {
  constexpr int kV = kVector<T>;
  const int pieces = a.padded_columns / kV;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (i >= a.all_rows * pieces) return;
  const int64_t row = i / pieces;
  const int column = static_cast<int>(i % pieces) * kV;
  if (column >= a.columns || ignored(a, column, min(column + kV, a.columns))) return;
  float v[kV] = {};
  for (int s = 0; s < a.splits; ++s)
#pragma unroll
    for (int j = 0; j < kV; j += 4) {
      const float* from = a.sums + (s * a.all_rows + row) * a.padded_columns + column + j;
      const float4 q = bits_as<float4>(load16(from));
      v[j] += q.x, v[j + 1] += q.y, v[j + 2] += q.z, v[j + 3] += q.w;
    }
  int p = 0;
  while (p + 1 < a.parts && row >= a.part[p + 1].first_row) ++p;
  store_piece(a, a.part[p], static_cast<int>(row - a.part[p].first_row), column, v);
}

// ---- the host's side ----

template <class T>
void set_destination(Destination<T>& d, const GatherProblem& p, const GatherTiles& tiles, const void* packed,
                     const GatherOutput& to, void* scratch) {
  d.bias = tiles.bias_in(packed);
  d.columns = static_cast<int>(p.columns), d.block_columns = static_cast<int>(p.block_columns);
  d.whole_pieces = p.block_columns % kVector<T> == 0;
  for (int i = 0; i < 2; ++i) {
    d.to[i] = static_cast<T*>(to.data[i]), d.to_c[i] = static_cast<int>(p.to_c[i]), d.grad[i] = to.grad[i];
    d.whole_pieces = d.whole_pieces && p.to_c[i] % kVector<T> == 0;
  }
  std::copy(p.block_offset.begin(), p.block_offset.end(), d.block_offset);
  std::copy(p.to_extent.begin(), p.to_extent.end(), d.to_extent);
  d.padded_columns = static_cast<int>(tiles.padded_columns()), d.splits = static_cast<int>(tiles.splits);
  d.sums = static_cast<float*>(scratch), d.all_rows = tiles.all_rows;
  d.parts = static_cast<int>(p.parts.size());
  int64_t row = 0, weight_row = 0;
  for (int i = 0; i < d.parts; ++i) {
    const GatherPart& from = p.parts[i];
    Part& part = d.part[i];
    part = {from.taps, {}, {}, static_cast<int>(tiles.steps[i]), true, weight_row, row};
    for (int axis = 0; axis < 3; ++axis) {
      part.to_origin[axis] = from.to_origin[axis], part.to_step[axis] = from.to_step[axis];
      part.in_order = part.in_order && from.taps.box[axis] == p.to_extent[axis];
    }
    row += from.taps.rows;
    weight_row += tiles.steps[i] * d.padded_columns;
  }
}

template <class T>
void launch_add_splits(Stream& stream, const Destination<T>& d) {
  if (d.splits > 1) launch(add_splits<T>, grid_of(d.all_rows * d.padded_columns / kVector<T>), dim3(256), 0, stream, d);
}

}  // namespace metvox::METVOX_KERNEL_NS
