// SPDX-License-Identifier: Apache-2.0
// y[row, column] = sum over taps and channels of source[voxel of row, tap][channel] * w, plus b: what forward
// convolutions, their backward data (by parity of the voxel where the stride is 2) and transposed convolutions are.
// gather_gemm.cu has the kernel; here is how a convolution describes itself to it.
#pragma once
#include <vector>

#include "kernels/cuda/implicit_gemm.h"
#include "kernels/engine.h"
#include "tensor/tensor.h"

namespace metvox::METVOX_KERNEL_NS {

constexpr int kMaxParts = 8;

// A step along K is a row of so many pieces of 16 bytes, of x and of w.
constexpr int kPieces = 4, kRowBytes = 16 * kPieces;
template <class T>
constexpr int kStepK = kRowBytes / static_cast<int>(sizeof(T));

// One product: the rows and what they read; which voxel of the output a row is (step * (d, h, w) + origin); for each of
// its taps the number of the tap in w.
struct GatherPart {
  Taps taps;
  int to_origin[3], to_step[3];
  int8_t tap_of[kMaxTaps];
};

// Every voxel of the output, every tap in w's order.
inline GatherPart whole_part(const Taps& taps) {
  GatherPart part{};
  part.taps = taps;
  for (int& step : part.to_step) step = 1;
  for (int t = 0; t < taps.count; ++t) part.tap_of[t] = static_cast<int8_t>(t);
  return part;
}

struct GatherProblem {
  DType dtype = DType::f32;
  bool tf32 = false;                // may factors be rounded?
  int64_t c[2] = {0, 0};            // channels of the sources
  int64_t columns = 0;              // of the product
  int64_t block_columns = 0;        // columns of one block: block i goes block_offset[i] voxels further. One block, or
  std::vector<int> block_offset{};  // the taps of a transposed convolution
  int64_t to_c[2] = {0, 0};         // channels of the outputs: columns of a block, in turn
  Int3 to_extent{};                 // of the output image
  int64_t w_column = 0, w_channel = 0, w_block = 0;  // steps in w, in elements; that of a tap is 1
  std::vector<GatherPart> parts{};                   // none empty, kMaxParts at most
};

struct GatherOutput {
  void* data[2] = {nullptr, nullptr};
  Grad grad[2] = {Grad::ignore, Grad::ignore};
  void* moments = nullptr;  // of what is written (kernels/moments.h), where they are wanted and there are chunks
};

// How a product is cut into blocks: tiles of rows and columns, steps along K, and K itself where there are few tiles.
struct GatherTiles {
  struct Shape {
    int m, n, row_bytes;  // of a tile; of a step, in each row of x and of w
  };
  // full_grid: the blocks that fill the largest device, a constant, so that sums are split alike everywhere.
  GatherTiles(const GatherProblem& p, const Shape& tile, int64_t full_grid);

  int64_t padded_columns() const { return tiles_n * block_n; }
  size_t weight_bytes() const;
  size_t packed_bytes() const { return weight_bytes() + static_cast<size_t>(padded_columns()) * 4; }
  const float* bias_in(const void* packed) const {
    return reinterpret_cast<const float*>(static_cast<const char*>(packed) + weight_bytes());
  }
  size_t scratch_bytes() const;

  int block_n, row_bytes;
  int64_t tiles_n, tiles_m, splits;  // tiles of the largest part
  std::vector<int64_t> steps;        // of each part
  int64_t all_rows = 0;
};

// w and b (f32, b may be nullptr for zero) in the order in which kernels read them: [part][tile of columns][step]
// [column], rows of row_bytes, then the bias, zeros where a step or a tile is not full. Swizzled: pieces of 16 bytes
// change places as swizzled<kPieces> says.
void pack_gathered(Stream&, const GatherProblem&, const GatherTiles&, bool swizzled, const float* w, const float* b,
                   void* packed);

class GatherGemm {
 public:
  explicit GatherGemm(GatherProblem p);
  size_t packed_bytes() const { return tiles_.packed_bytes(); }
  size_t scratch_bytes() const { return tiles_.scratch_bytes(); }
  // Chunks in which run() can give moments: the tiles of a sample, where none has rows of two samples, each voxel is
  // written once and in whole pieces, and K is not split; else 0.
  int64_t moment_chunks() const;
  void pack(Stream&, const float* w, const float* b, void* packed) const;
  void run(Stream&, const void* x, const void* x2, const void* packed, const GatherOutput& to, void* scratch) const;

 private:
  template <class F>
  void run_as(Stream&, const void* x, const void* x2, const void* packed, const GatherOutput& to, void* scratch) const;

  GatherProblem p_;
  GatherTiles tiles_;
};

}  // namespace metvox::METVOX_KERNEL_NS
