// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/bias.h"

#include <algorithm>

#include "kernels/convert.h"
#include "kernels/cpu/bias_loops.h"

namespace metvox::cpu {
namespace {

// Several voxels side by side, so that few channels still fill vectors; at most this many rows are summed in float.
constexpr int64_t kLanes = 128, kRows = 256;

int64_t voxels_a_row(int64_t k) { return std::max<int64_t>(1, kLanes / k); }

void add_rows(const float* a, int64_t rows, int64_t width, float* lanes) {
  METVOX_ISA_CALL(add_rows_f32)(a, rows, width, lanes);
}
void add_rows(const uint16_t* a, int64_t rows, int64_t width, float* lanes) {
  METVOX_ISA_CALL(add_rows_bf16)(a, rows, width, lanes);
}

void add_to_rows(float* a, int64_t rows, int64_t width, const float* lanes) {
  METVOX_ISA_CALL(add_to_rows_f32)(a, rows, width, lanes);
}
void add_to_rows(uint16_t* a, int64_t rows, int64_t width, const float* lanes) {
  METVOX_ISA_CALL(add_to_rows_bf16)(a, rows, width, lanes);
}

template <class Element>
void sum_piece(const Element* dy, int64_t voxels, int64_t k, double* sums, float* lanes) {
  const int64_t side = voxels_a_row(k);
  std::fill(sums, sums + k, 0.0);
  for (int64_t v = 0; v < voxels;) {
    const bool rest = voxels - v < side;
    const int64_t rows = rest ? 1 : std::min(kRows, (voxels - v) / side), width = rest ? (voxels - v) * k : side * k;
    std::fill(lanes, lanes + width, 0.0f);
    add_rows(dy + v * k, rows, width, lanes);
    for (int64_t i = 0; i < width; ++i) sums[i % k] += static_cast<double>(lanes[i]);
    v += rows * width / k;
  }
}

}  // namespace

size_t BiasGradient::bytes_a_piece() const {
  const size_t sums = static_cast<size_t>(k_) * sizeof(double),
               lanes = static_cast<size_t>(voxels_a_row(k_) * k_) * sizeof(float);
  return (sums + lanes + 63) / 64 * 64;
}

void BiasGradient::operator()(const View& dy, const View& db, Grad grad, void* scratch) const {
  if (grad == Grad::ignore) return;
  const int64_t k = k_, voxels = dy.size() / k, pieces = pieces_;
  const auto piece = [&](int64_t i) {
    return static_cast<std::byte*>(scratch) + static_cast<size_t>(i) * bytes_a_piece();
  };
  parallel_for(pieces, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t begin = voxels * i / pieces, count = voxels * (i + 1) / pieces - begin;
      auto* sums = reinterpret_cast<double*>(piece(i));
      auto* lanes = reinterpret_cast<float*>(sums + k);
      if (dy.dtype == DType::bf16) sum_piece(static_cast<const uint16_t*>(dy.data) + begin * k, count, k, sums, lanes);
      else sum_piece(dy.as<float>() + begin * k, count, k, sums, lanes);
    }
  });
  for (int64_t c = 0; c < k; ++c) {
    double sum = 0;
    for (int64_t i = 0; i < pieces; ++i) sum += reinterpret_cast<const double*>(piece(i))[c];
    put(db.as<float>()[c], sum, grad);
  }
}

int64_t repeated_bias_size(int64_t k) { return voxels_a_row(k) * k; }

void repeat_bias(const View& b, float* lanes) {
  const int64_t k = b.size();
  for (int64_t i = 0; i < repeated_bias_size(k); ++i) lanes[i] = b.as<float>()[i % k];
}

void add_bias(const View& y, int64_t k, const float* lanes) {
  const int64_t width = repeated_bias_size(k), side = width / k;
  const auto add = [&](auto* elements) {
    parallel_for(y.size() / k, 4096, [&](int64_t first, int64_t last) {
      const int64_t rows = (last - first) / side, rest = (last - first) % side;
      add_to_rows(elements + first * k, rows, width, lanes);
      add_to_rows(elements + (last - rest) * k, 1, rest * k, lanes);
    });
  };
  if (y.dtype == DType::bf16) add(static_cast<uint16_t*>(y.data));
  else add(y.as<float>());
}

}  // namespace metvox::cpu
