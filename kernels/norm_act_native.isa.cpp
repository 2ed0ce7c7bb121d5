// SPDX-License-Identifier: Apache-2.0
// Memory is read in rows: `fold` voxels side by side, so that few channels still fill whole vectors. Lane i of a row
// belongs to channel i mod c. Sums run in float within a block that stays in cache, and in double from block to block.
#include "kernels/cpu/vec.h"
#include "kernels/norm_act_native.h"

namespace metvox::METVOX_ISA {
namespace {

using native::NormConstants;
using native::NormGradient;

constexpr int kStrip = 4;             // vectors side by side: enough sums under way to hide latency
constexpr int64_t kMaxFolded = 1024;  // elements of a folded row
constexpr int64_t kBlockBytes = 64 << 10, kMaxBlockRows = 256;

int64_t fold_of(int64_t c) {
  const int64_t best_first[] = {kStrip * kLanes, kLanes};
  for (int64_t lanes : best_first)
    for (int64_t fold = 1; fold * c <= kMaxFolded; ++fold)
      if (fold * c % lanes == 0) return fold;
  return 1;
}

template <class T>
int64_t block_rows(int64_t width) {
  const int64_t rows = kBlockBytes / (width * static_cast<int64_t>(sizeof(T)));
  return rows < 1 ? 1 : rows > kMaxBlockRows ? kMaxBlockRows : rows;
}

// A value per channel, repeated for each voxel of a row.
class Folded {
 public:
  Folded(const float* of_channel, int64_t c, int64_t fold) : lane_(fold == 1 ? of_channel : copy_) {
    for (int64_t f = 0; fold > 1 && f < fold; ++f)
      for (int64_t i = 0; i < c; ++i) copy_[f * c + i] = of_channel[i];
  }
  Folded(const Folded&) = delete;
  Vec at(int64_t k, int64_t n) const { return load(lane_ + k, n); }

 private:
  float copy_[kMaxFolded];
  const float* lane_;
};

// f.operator()<V>(k, n): V vectors from lane k on, of which n lanes are inside the row.
template <class F>
void for_strips(int64_t width, F f) {
  int64_t k = 0;
  for (; k + kStrip * kLanes <= width; k += kStrip * kLanes) f.template operator()<kStrip>(k, kStrip * kLanes);
  for (; k < width; k += kLanes) f.template operator()<1>(k, width - k < kLanes ? width - k : kLanes);
}

// v where h is above 0, negative_slope v elsewhere: with v = h the activation, with v = dy its gradient.
Vec through(Vec v, Vec h, float negative_slope) { return h > 0.0f ? v : v * negative_slope; }

// Moments of `count` values, merged with those of `more` others (Chan et al. 1979).
void merge(double count, double& mean, double& square, double more, double other_mean, double other_square) {
  const double apart = other_mean - mean, share = more / (count + more);
  mean += apart * share;
  square += other_square + apart * apart * count * share;
}

// Moments of each lane of V vectors over `rows`, merged into those of `count` rows before. Squares are of deviations
// from a shift that is the block's mean but for rounding; what it misses is put right, so no digits cancel.
template <int V, class T>
void block_moments(const T* x, int64_t rows, int64_t width, int64_t lanes, int64_t count, double* mean,
                   double* square) {
  Vec shift[V] = {}, first[V] = {}, second[V] = {};
  for (int64_t r = 0; r < rows; ++r)
    for (int j = 0; j < V; ++j) shift[j] += load(x + r * width + j * kLanes, lanes - j * kLanes);
  for (int j = 0; j < V; ++j) shift[j] *= 1.0f / static_cast<float>(rows);
  for (int64_t r = 0; r < rows; ++r)
    for (int j = 0; j < V; ++j) {
      const Vec d = load(x + r * width + j * kLanes, lanes - j * kLanes) - shift[j];
      first[j] += d;
      second[j] += d * d;
    }
  const double n = static_cast<double>(rows), before = static_cast<double>(count);
  for (int j = 0; j < V; ++j)
    for (int64_t i = 0; i < kLanes && j * kLanes + i < lanes; ++i) {
      const double missed = static_cast<double>(first[j][i]) / n;
      merge(before, mean[j * kLanes + i], square[j * kLanes + i], n, static_cast<double>(shift[j][i]) + missed,
            static_cast<double>(second[j][i]) - missed * missed * n);
    }
}

// Sums of dh and dh (x - center) of each lane of V vectors over `rows`, added to sums in double.
template <int V, class T>
void block_backward_sums(const T* x, const T* dy, int64_t rows, int64_t width, int64_t lanes,
                         const Vec (&constant)[3][V], float negative_slope, double* dh, double* dh_x) {
  Vec first[V] = {}, second[V] = {};
  for (int64_t r = 0; r < rows; ++r)
    for (int j = 0; j < V; ++j) {
      const int64_t at = r * width + j * kLanes, left = lanes - j * kLanes;
      const Vec d = load(x + at, left) - constant[0][j];
      const Vec g = through(load(dy + at, left), d * constant[1][j] + constant[2][j], negative_slope);
      first[j] += g;
      second[j] += g * d;
    }
  for (int j = 0; j < V; ++j)
    for (int64_t i = 0; i < kLanes && j * kLanes + i < lanes; ++i) {
      dh[j * kLanes + i] += static_cast<double>(first[j][i]);
      dh_x[j * kLanes + i] += static_cast<double>(second[j][i]);
    }
}

// f(i, k, n) for each vector: its first element, its first lane in the row, how many lanes are inside the row.
template <class F>
void for_vectors(int64_t elements, int64_t width, F f) {
  for (int64_t row = 0; row < elements; row += width) {
    const int64_t count = elements - row < width ? elements - row : width;
    int64_t k = 0;
    for (; k + kLanes <= count; k += kLanes) f(row + k, k, kLanes);
    if (k < count) f(row + k, k, count - k);
  }
}

}  // namespace

template <class T>
void norm_moments(const T* x, int64_t voxels, int64_t c, double* mean, double* square) {
  const int64_t fold = fold_of(c), width = fold * c, rows = voxels / fold, step = block_rows<T>(width);
  double folded_mean[kMaxFolded], folded_square[kMaxFolded];
  double *lane_mean = fold == 1 ? mean : folded_mean, *lane_square = fold == 1 ? square : folded_square;
  for (int64_t i = 0; i < width; ++i) lane_mean[i] = lane_square[i] = 0;
  for (int64_t r = 0; r < rows; r += step)
    for_strips(width, [&]<int V>(int64_t k, int64_t lanes) {
      block_moments<V>(x + r * width + k, rows - r < step ? rows - r : step, width, lanes, r, lane_mean + k,
                       lane_square + k);
    });
  if (fold == 1) return;
  for (int64_t i = 0; i < c; ++i) {
    mean[i] = square[i] = 0;
    for (int64_t f = 0; f < fold && rows > 0; ++f)
      merge(static_cast<double>(f * rows), mean[i], square[i], static_cast<double>(rows), lane_mean[f * c + i],
            lane_square[f * c + i]);
    for (int64_t v = rows * fold; v < voxels; ++v)
      merge(static_cast<double>(v), mean[i], square[i], 1, static_cast<double>(load(x + v * c + i, 1)[0]), 0);
  }
}

template <class T>
void norm_apply(const T* x, int64_t voxels, int64_t c, NormConstants constants, float negative_slope, T* y) {
  const int64_t fold = fold_of(c);
  const Folded center(constants.center, c, fold), scale(constants.scale, c, fold), shift(constants.shift, c, fold);
  for_vectors(voxels * c, fold * c, [&](int64_t i, int64_t k, int64_t n) {
    const Vec h = (load(x + i, n) - center.at(k, n)) * scale.at(k, n) + shift.at(k, n);
    store(y + i, through(h, h, negative_slope), n);
  });
}

template <class T>
void norm_backward_sums(const T* x, const T* dy, int64_t voxels, int64_t c, NormConstants constants,
                        float negative_slope, double* dh, double* dh_x) {
  const int64_t fold = fold_of(c), width = fold * c, rows = voxels / fold, step = block_rows<T>(width);
  const Folded center(constants.center, c, fold), scale(constants.scale, c, fold), shift(constants.shift, c, fold);
  double folded_dh[kMaxFolded], folded_dh_x[kMaxFolded];
  double *lane_dh = fold == 1 ? dh : folded_dh, *lane_dh_x = fold == 1 ? dh_x : folded_dh_x;
  for (int64_t i = 0; i < width; ++i) lane_dh[i] = lane_dh_x[i] = 0;
  const auto add = [&](int64_t first, int64_t count, int64_t of_width) {
    for_strips(of_width, [&]<int V>(int64_t k, int64_t lanes) {
      Vec constant[3][V];
      for (int j = 0; j < V; ++j) {
        const int64_t at = k + j * kLanes, left = lanes - j * kLanes;
        constant[0][j] = center.at(at, left), constant[1][j] = scale.at(at, left), constant[2][j] = shift.at(at, left);
      }
      block_backward_sums<V>(x + first + k, dy + first + k, count, of_width, lanes, constant, negative_slope,
                             lane_dh + k, lane_dh_x + k);
    });
  };
  for (int64_t r = 0; r < rows; r += step) add(r * width, rows - r < step ? rows - r : step, width);
  if (fold == 1) return;
  if (rows * fold < voxels) add(rows * width, 1, (voxels - rows * fold) * c);
  for (int64_t i = 0; i < c; ++i) {
    dh[i] = dh_x[i] = 0;
    for (int64_t f = 0; f < fold; ++f) {
      dh[i] += lane_dh[f * c + i];
      dh_x[i] += lane_dh_x[f * c + i];
    }
  }
}

template <class T>
void norm_backward_apply(const T* x, const T* dy, int64_t voxels, int64_t c, NormConstants constants,
                         NormGradient gradient, float negative_slope, bool accumulate, T* dx) {
  const int64_t fold = fold_of(c);
  const Folded center(constants.center, c, fold), scale(constants.scale, c, fold), shift(constants.shift, c, fold);
  const Folded slope(gradient.slope, c, fold), offset(gradient.offset, c, fold);
  for_vectors(voxels * c, fold * c, [&](int64_t i, int64_t k, int64_t n) {
    const Vec d = load(x + i, n) - center.at(k, n);
    const Vec g = through(load(dy + i, n), d * scale.at(k, n) + shift.at(k, n), negative_slope);
    Vec to = g * scale.at(k, n) + (d * slope.at(k, n) + offset.at(k, n));
    if (accumulate) to += load(dx + i, n);
    store(dx + i, to, n);
  });
}

#define METVOX_INSTANTIATE(T)                                                                                          \
  template void norm_moments<T>(const T*, int64_t, int64_t, double*, double*);                                         \
  template void norm_apply<T>(const T*, int64_t, int64_t, NormConstants, float, T*);                                   \
  template void norm_backward_sums<T>(const T*, const T*, int64_t, int64_t, NormConstants, float, double*, double*);   \
  template void norm_backward_apply<T>(const T*, const T*, int64_t, int64_t, NormConstants, NormGradient, float, bool, \
                                       T*);
METVOX_INSTANTIATE(float)
METVOX_INSTANTIATE(uint16_t)
#undef METVOX_INSTANTIATE

}  // namespace metvox::METVOX_ISA
