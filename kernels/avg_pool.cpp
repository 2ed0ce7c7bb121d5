// SPDX-License-Identifier: Apache-2.0
#include "kernels/avg_pool.h"

#include "kernels/avg_pool_loops.h"
#include "kernels/check_view.h"
#include "kernels/convert.h"
#include "kernels/cpu/bits.h"
#include "kernels/cuda/avg_pool.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

constexpr int64_t kMostRows = 64;  // of a box

// f(row of the smaller image, rows of the larger one in it, their number).
template <class T, class F>
void each_row(const View& large, const View& small, const Int3& stride, F f) {
  const Shape& s = small.shape;
  const int64_t row = large.shape[4] * s[1], count = stride[0] * stride[1];
  parallel_for(s[0] * s[2] * s[3], 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {  // slice n * D + z of both: the stride divides the larger D
      const int64_t slice = i / s[3], y = i % s[3];
      Bits<T>* rows[kMostRows];
      for (int64_t r = 0; r < count; ++r) {
        const int64_t z = slice * stride[0] + r / stride[1];
        rows[r] = bits<T>(large) + (z * large.shape[3] + y * stride[1] + r % stride[1]) * row;
      }
      f(bits<T>(small) + i * s[4] * s[1], rows, count);
    }
  });
}

void check_views(const View& large, const View& small, const Int3& stride) {
  check_view("avg_pool", "y", small, avg_pool_shape(large.shape, stride), large.dtype);
  check(stride[0] * stride[1] <= kMostRows, "avg_pool: a box of ", Shape(stride), " is larger than any stage's");
}

// In double: element by element of a row.
void row_in_double(const double* const* rows, int64_t count, int64_t step, int64_t w, int64_t c, double* y) {
  for (int64_t i = 0; i < w * c; ++i) {
    double sum = 0;
    for (int64_t r = 0; r < count; ++r)
      for (int64_t s = 0; s < step; ++s) sum += rows[r][(i / c * step + s) * c + i % c];
    y[i] = sum / static_cast<double>(count * step);
  }
}
void row_back_in_double(const double* dy, int64_t count, int64_t step, int64_t w, int64_t c, Grad grad,
                        double* const* rows) {
  for (int64_t r = 0; r < count; ++r)
    for (int64_t i = 0; i < w * step * c; ++i)
      put(rows[r][i], dy[i / (c * step) * c + i % c] / static_cast<double>(count * step), grad);
}

}  // namespace

Shape avg_pool_shape(const Shape& x, const Int3& stride) {
  check(x.rank() == 5, "avg_pool: x ", x, " must have five extents");
  for (int a = 0; a < 3; ++a)
    check(stride[a] >= 1 && x[2 + a] % stride[a] == 0, "avg_pool: x ", x, " does not divide into boxes of ",
          Shape(stride));
  return {x[0], x[1], x[2] / stride[0], x[3] / stride[1], x[4] / stride[2]};
}

void avg_pool(Stream& stream, View x, const Int3& stride, View y) {
  check_views(x, y, stride);
  METVOX_ON_DEVICE(stream, avg_pool(stream, x, stride, y))
  const int64_t w = y.shape[4], c = y.shape[1];
  dispatch_float(x.dtype, [&]<class T>() {
    each_row<T>(x, y, stride, [=](Bits<T>* to, Bits<T>* const* rows, int64_t count) {
      if constexpr (std::is_same_v<T, double>) row_in_double(rows, count, stride[2], w, c, to);
      else METVOX_ISA_CALL(avg_pool_row<Bits<T>>)(rows, count, stride[2], w, c, to);
    });
  });
}

void avg_pool_backward(Stream& stream, View dy, const Int3& stride, View dx, Grad grad) {
  if (grad == Grad::ignore) return;
  check_views(dx, dy, stride);
  METVOX_ON_DEVICE(stream, avg_pool_backward(stream, dy, stride, dx, grad))
  const int64_t w = dy.shape[4], c = dy.shape[1];
  dispatch_float(dx.dtype, [&]<class T>() {
    each_row<T>(dx, dy, stride, [=](Bits<T>* from, Bits<T>* const* rows, int64_t count) {
      const bool add = grad == Grad::accumulate;
      if constexpr (std::is_same_v<T, double>) row_back_in_double(from, count, stride[2], w, c, grad, rows);
      else METVOX_ISA_CALL(avg_pool_row_back<Bits<T>>)(from, count, stride[2], w, c, add, rows);
    });
  });
}

}  // namespace metvox
