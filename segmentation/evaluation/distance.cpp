// SPDX-License-Identifier: Apache-2.0
#include "segmentation/evaluation/distance.h"

#include <cmath>
#include <limits>
#include <vector>

#include "tensor/threads.h"

namespace metvox {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// min over p of f(p) + (step (q - p))^2 for all q of a line of n values, `stride` apart, in place.
class Envelope {
 public:
  explicit Envelope(int64_t n) : f_(n), apex_(n), from_(n + 1) {}

  void run(double* line, int64_t stride, double step) {
    const int64_t n = static_cast<int64_t>(f_.size());
    for (int64_t i = 0; i < n; ++i) f_[i] = line[i * stride];
    const int64_t count = build(n, step * step);
    if (count == 0) return;
    for (int64_t q = 0, k = 0; q < n; ++q) {
      while (k + 1 < count && from_[k + 1] < static_cast<double>(q)) ++k;
      const double d = step * static_cast<double>(q - apex_[k]);
      line[q * stride] = f_[apex_[k]] + d * d;
    }
  }

 private:
  // Keeps the parabolas that are lowest somewhere: apex_[k] from from_[k] on. Points at infinity have none.
  int64_t build(int64_t n, double step2) {
    int64_t count = 0;
    for (int64_t q = 0; q < n; ++q) {
      if (f_[q] == kInfinity) continue;
      double start = -kInfinity;
      while (count > 0) {
        const int64_t p = apex_[count - 1];
        start = ((f_[q] - f_[p]) / step2 + static_cast<double>(q * q - p * p)) / static_cast<double>(2 * (q - p));
        if (start > from_[count - 1]) break;
        --count;
        start = -kInfinity;
      }
      apex_[count] = q;
      from_[count++] = start;
    }
    return count;
  }

  std::vector<double> f_;
  std::vector<int64_t> apex_;
  std::vector<double> from_;
};

void along(double* values, const Int3& shape, int axis, double step) {
  const int64_t n = shape[axis];
  int64_t stride = 1;
  for (int a = axis + 1; a < 3; ++a) stride *= shape[a];
  parallel_for(volume(shape) / n, 256, [&](int64_t first, int64_t last) {
    Envelope envelope(n);
    for (int64_t line = first; line < last; ++line)
      envelope.run(values + line / stride * stride * n + line % stride, stride, step);
  });
}

}  // namespace

Tensor squared_distances(const Tensor& marked, const Double3& spacing_mm) {
  check(marked.shape().rank() == 3, "squared_distances: expects (z, y, x), got ", marked.shape());
  const Int3 shape{marked.shape()[0], marked.shape()[1], marked.shape()[2]};
  Tensor out = Tensor::empty(marked.shape(), DType::f64);
  if (out.size() == 0) return out;
  const uint8_t* in = marked.data<uint8_t>();
  double* d = out.data<double>();
  for (int64_t i = 0; i < out.size(); ++i) d[i] = in[i] ? 0 : kInfinity;
  for (int axis = 2; axis >= 0; --axis) along(d, shape, axis, spacing_mm[axis]);
  return out;
}

}  // namespace metvox
