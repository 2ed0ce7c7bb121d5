// SPDX-License-Identifier: Apache-2.0
// Resampling on the GPU against sums in double: no recursion, and B-splines by their definition.
#include "kernels/resample.h"

#include "tests/kernels/cuda/gpu_tensor.h"
#include "tests/kernels/sim/sim_testing.h"

namespace metvox {
namespace {

using test::in_double;
using test::kGpu;
using test::on_gpu;

constexpr double kUnit = 0x1p-24;

struct Case {
  Shape in;  // (L, n, I)
  int64_t n_out;
};
const Case kCases[] = {{{2, 5, 3}, 7}, {{3, 6, 1}, 4}, {{1, 1, 4}, 3}, {{1, 9, 70}, 9}, {{4, 2, 1}, 31}};

double at(const Tensor& t, int64_t l, int64_t k, int64_t i) {
  return t.data<double>()[(l * t.shape()[1] + std::clamp<int64_t>(k, 0, t.shape()[1] - 1)) * t.shape()[2] + i];
}

Tensor normal(const Shape& shape) {
  Random random(3, 1);
  return test::normal_numbers(shape, random, DType::f32, 1);
}

// The coefficients solve c[k - 1] + 4 c[k] + c[k + 1] = x[k] on a line without ends: a sum over all of x whose weights
// fall by 2 - sqrt(3) from one voxel to the next.
Tensor coefficients(const Tensor& x) {
  const Shape& s = x.shape();
  const Tensor c = Tensor::empty({s[0], s[1] + 4, s[2]}, DType::f64);
  const double pole = std::sqrt(3.0) - 2;
  for (int64_t l = 0; l < s[0]; ++l)
    for (int64_t row = 0; row < s[1] + 4; ++row)
      for (int64_t i = 0; i < s[2]; ++i) {
        double sum = 0;
        for (int64_t j = -40; j <= 40; ++j)
          sum += at(x, l, row - 2 + j, i) * std::pow(pole, std::abs(static_cast<double>(j)));
        c.data<double>()[(l * (s[1] + 4) + row) * s[2] + i] = sum * -pole / (1 - pole * pole);
      }
  return c;
}

double cubic_spline(double x) {  // six times
  const double a = std::abs(x);
  return a < 1 ? 4 - 6 * a * a + 3 * a * a * a : a < 2 ? (2 - a) * (2 - a) * (2 - a) : 0;
}

// (n_out, taps) on the host, i32 and f64.
struct Taps {
  Tensor rows, weights;
};
Taps taps_for(int64_t n_in, int64_t n_out, int64_t count) {
  Taps t{Tensor::empty({n_out, count}, DType::i32), Tensor::empty({n_out, count}, DType::f64)};
  for (int64_t o = 0; o < n_out; ++o) {
    const double x = (static_cast<double>(o) + 0.5) * static_cast<double>(n_in) / static_cast<double>(n_out) - 0.5;
    const auto whole = static_cast<int64_t>(std::floor(x));
    for (int64_t k = 0; k < count; ++k) {
      const int64_t row = whole + k - (count == 4 ? 1 : 0);
      const double away = x - static_cast<double>(row), weight = count == 4   ? cubic_spline(away)
                                                                 : count == 2 ? 1 - std::abs(away)
                                                                              : 1;
      t.rows.data<int32_t>()[o * count + k] =
          static_cast<int32_t>(count == 4 ? row + 2 : std::clamp<int64_t>(row, 0, n_in - 1));
      t.weights.data<double>()[o * count + k] = static_cast<double>(static_cast<float>(weight));
    }
  }
  return t;
}

Tensor resampled(const Tensor& in, const Taps& taps, const Tensor& ranges) {
  const Shape& s = in.shape();
  const int64_t n_out = taps.rows.shape()[0], count = taps.rows.shape()[1];
  const Tensor out = Tensor::empty({s[0], n_out, s[2]}, DType::f64);
  for (int64_t l = 0; l < s[0]; ++l)
    for (int64_t o = 0; o < n_out; ++o)
      for (int64_t i = 0; i < s[2]; ++i) {
        double v = 0;
        for (int64_t k = 0; k < count; ++k)
          v += taps.weights.data<double>()[o * count + k] * at(in, l, taps.rows.data<int32_t>()[o * count + k], i);
        if (ranges) {
          const double* r = ranges.data<double>() + l * ranges.shape()[0] / s[0] * 2;
          v = std::clamp(v, r[0], r[1]);
        }
        out.data<double>()[(l * n_out + o) * s[2] + i] = v;
      }
  return out;
}

void expect_lines(const Tensor& in, int64_t n_in, int64_t n_out, int64_t count, const Tensor& ranges) {
  const Taps taps = taps_for(n_in, n_out, count);
  const Tensor there = on_gpu(in, DType::f32, "in"), rows = taps.rows.to(kGpu),
               weights = on_gpu(taps.weights, DType::f32, "weights"),
               limits = ranges ? on_gpu(ranges, DType::f32, "ranges") : Tensor(),
               out = Tensor::empty({in.shape()[0], n_out, in.shape()[2]}, DType::f32, kGpu, "out");
  Stream stream(kGpu);
  resample_lines(stream, there.view(), {rows.view(), weights.view()}, limits.view(), out.view());
  // `count` products and sums, each rounded once; the weights add up to at most 6.
  const double allowed = 2 * static_cast<double>(count) * kUnit * (count == 4 ? 6 : 1) * test::largest(in);
  test::expect_near(in_double(out), resampled(in, taps, ranges), allowed, sentence(count, " taps, ", in.shape()));
}

Tensor limits_of(int64_t rows) {
  Tensor t = Tensor::empty({rows, 2}, DType::f64);
  for (int64_t r = 0; r < rows; ++r)
    t.data<double>()[2 * r] = -0.25 * static_cast<double>(r), t.data<double>()[2 * r + 1] = 1.5;
  return t;
}

}  // namespace

TEST(resample, takes_and_mixes_voxels) {
  for (const Case& c : kCases)
    for (const int64_t count : {1, 2, 4}) {
      const int64_t n = c.in[1];
      const Tensor in = normal({c.in[0], count == 4 ? n + 4 : n, c.in[2]});
      expect_lines(in, n, c.n_out, count, {});
      expect_lines(in, n, c.n_out, count, limits_of(1));
      expect_lines(in, n, c.n_out, count, limits_of(c.in[0]));
    }
}

// A recursion whose sums are at most 1 / (1 - p) = 1.37 times the largest voxel M, p = 0.27: each step rounds by 1.74 M
// and keeps p of the error, so 2.4 M; back, 1.0 M beside p times that, so 2.3 M; and the pole itself is rounded.
TEST(resample, finds_the_coefficients_of_splines) {
  for (const Case& c : kCases) {
    const Tensor x = normal(c.in), there = on_gpu(x, DType::f32, "x"),
                 got = Tensor::empty({c.in[0], c.in[1] + 4, c.in[2]}, DType::f32, kGpu, "c");
    Stream stream(kGpu);
    spline_coefficients(stream, there.view(), got.view());
    test::expect_near(in_double(got), coefficients(x), 4 * kUnit * test::largest(x), sentence(x.shape()));
  }
}

TEST(resample, finds_ranges) {
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 2}, Shape{2, 500}, Shape{1, 70'001}}) {
    const Tensor x = normal(shape), there = on_gpu(x, DType::f32, "x"),
                 expected = Tensor::empty({shape[0], 2}, DType::f64);
    for (int64_t r = 0; r < shape[0]; ++r) {
      const auto [low, high] =
          std::minmax_element(x.data<double>() + r * shape[1], x.data<double>() + (r + 1) * shape[1]);
      expected.data<double>()[2 * r] = *low, expected.data<double>()[2 * r + 1] = *high;
    }
    under_every_schedule([&] {
      const Tensor got = Tensor::empty({shape[0], 2}, DType::f32, kGpu, "ranges"),
                   scratch =
                       Tensor::empty({static_cast<int64_t>(find_ranges_scratch(shape[0]))}, DType::u8, kGpu, "scratch");
      Stream stream(kGpu);
      find_ranges(stream, there.view(), got.view(), scratch.view().data);
      test::expect_near(in_double(got), expected, 0, sentence(shape));
    });
  }
}

}  // namespace metvox
