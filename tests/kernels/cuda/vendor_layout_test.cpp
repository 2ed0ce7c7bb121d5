// SPDX-License-Identifier: Apache-2.0
// On the GPU: weights to a vendor's order and back, biases.
#include "kernels/cuda/vendor_layout.h"

#include <gtest/gtest.h>

#include "tests/kernels/cuda/gpu_tensor.h"

namespace metvox {
namespace {

using test::in_double;
using test::kGpu;
using test::on_gpu;

Tensor counted(const Shape& shape) {
  Tensor t = Tensor::empty(shape, DType::f64);
  for (int64_t i = 0; i < t.size(); ++i) t.data<double>()[i] = static_cast<double>(i % 97 - 40);
  return t;
}
void take_filter(Stream& stream, View w, int64_t first, View to) {
  METVOX_ON_DEVICE(stream, take_filter(stream, w, first, to))
}
void give_filter(Stream& stream, View from, View dw, int64_t first, Grad grad) {
  METVOX_ON_DEVICE(stream, give_filter(stream, from, dw, first, grad))
}
void add_bias(Stream& stream, View b, View y) { METVOX_ON_DEVICE(stream, add_bias(stream, b, y)) }
void bias_gradient(Stream& stream, View dy, View db, Grad grad, void* scratch) {
  METVOX_ON_DEVICE(stream, bias_gradient(stream, dy, db, grad, scratch))
}
constexpr int64_t kK = 3, kC = 7, kFirst = 2, kCount = 4, kTaps = 2 * 1 * 3;
const Shape kW{kK, kC, 2, 1, 3}, kFilter{kK, kCount, 2, 1, 3};

}  // namespace

TEST(vendor_layout, takes_some_channels_and_makes_them_fastest) {
  Stream stream(kGpu);
  const Tensor w = counted(kW), on = on_gpu(w, DType::f32, "w");
  for (const DType t : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor to = Tensor::empty(kFilter, t, kGpu, "filter");
    take_filter(stream, on.view(), kFirst, to.view());
    const Tensor got = in_double(to);
    for (int64_t i = 0; i < got.size(); ++i) {
      const int64_t c = i % kCount, tap = i / kCount % kTaps, k = i / kCount / kTaps;
      EXPECT_EQ(got.data<double>()[i], w.data<double>()[(k * kC + kFirst + c) * kTaps + tap]) << name_of(t) << ' ' << i;
    }
  }
}

TEST(vendor_layout, gives_back_to_the_same_channels_alone) {
  Stream stream(kGpu);
  const Tensor w = counted(kW);
  const Tensor source = on_gpu(w, DType::f32, "source"), filter = Tensor::empty(kFilter, DType::bf16, kGpu, "filter");
  take_filter(stream, source.view(), kFirst, filter.view());
  const Tensor dw = on_gpu(Tensor::zeros(kW, DType::f64), DType::f32, "dw");
  const auto expect_times = [&](double times) {
    const Tensor got = in_double(dw);
    for (int64_t i = 0; i < got.size(); ++i) {
      const int64_t c = i / kTaps % kC;
      const bool given = c >= kFirst && c < kFirst + kCount;
      EXPECT_EQ(got.data<double>()[i], given ? times * w.data<double>()[i] : 0) << i;
    }
  };
  give_filter(stream, filter.view(), dw.view(), kFirst, Grad::overwrite);
  expect_times(1);
  give_filter(stream, filter.view(), dw.view(), kFirst, Grad::accumulate);
  expect_times(2);
  give_filter(stream, filter.view(), dw.view(), kFirst, Grad::ignore);
  expect_times(2);
  give_filter(stream, filter.view(), dw.view(), kFirst, Grad::overwrite);
  expect_times(1);
  EXPECT_THROW(give_filter(stream, filter.view(), dw.view(), kC - 1, Grad::overwrite), Error);
}

TEST(vendor_layout, adds_a_bias_and_sums_its_gradient) {
  Stream stream(kGpu);
  const Shape shape{2, 5, 3, 2, 4};
  const Tensor y = counted(shape), b = counted({5});
  const Tensor gpu_y = on_gpu(y, DType::bf16, "y"), gpu_b = on_gpu(b, DType::f32, "b");
  add_bias(stream, gpu_b.view(), gpu_y.view());
  const Tensor got = in_double(gpu_y);
  for (int64_t i = 0; i < got.size(); ++i)
    EXPECT_EQ(got.data<double>()[i], y.data<double>()[i] + b.data<double>()[i % 5]) << i;

  const auto bytes = static_cast<int64_t>(ksim::bias_gradient_scratch(gpu_y.view()));
  const Tensor scratch = Tensor::empty({bytes}, DType::u8, kGpu, "scratch");
  for (const Grad grad : {Grad::overwrite, Grad::accumulate})
    bias_gradient(stream, gpu_y.view(), gpu_b.view(), grad, scratch.view().data);
  const Tensor db = in_double(gpu_b);
  for (int64_t k = 0; k < 5; ++k) {
    double sum = 0;
    for (int64_t i = k; i < got.size(); i += 5) sum += got.data<double>()[i];
    EXPECT_EQ(db.data<double>()[k], 2 * sum) << k;
  }
}

}  // namespace metvox
