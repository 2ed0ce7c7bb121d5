// SPDX-License-Identifier: Apache-2.0
// Data whose sums are exact in every type and every order: small whole numbers. An engine that drops a tap or reads
// past an edge cannot hide in a tolerance.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/convert.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace metvox::test {

// f64, from {-largest..largest}.
inline Tensor whole_numbers(const Shape& shape, Random& random, int64_t largest = 1) {
  Tensor t = Tensor::empty(shape, DType::f64);
  for (int64_t i = 0; i < t.size(); ++i)
    t.data<double>()[i] = static_cast<double>(random.below(2 * largest + 1) - largest);
  return t;
}

inline Tensor filled(const Shape& shape, DType dtype, double value) {
  Tensor t = Tensor::empty(shape, dtype);
  dispatch_float(dtype, [&]<class T>() { std::fill(t.data<T>(), t.data<T>() + t.size(), from_double<T>(value)); });
  return t;
}

inline Tensor converted(const Tensor& from, DType dtype) {
  if (!from) return {};
  Tensor to = Tensor::empty(from.shape(), dtype);
  dispatch_float(from.dtype(), [&]<class From>() {
    dispatch_float(dtype, [&]<class To>() {
      for (int64_t i = 0; i < to.size(); ++i) to.data<To>()[i] = from_double<To>(to_double(from.data<From>()[i]));
    });
  });
  return to;
}

// Every element equal to the f64 `expected`, which must be exact in the type of `got`.
inline void expect_exactly(const Tensor& got, const Tensor& expected, const std::string& what) {
  ASSERT_EQ(got.shape(), expected.shape()) << what;
  const Tensor g = converted(got, DType::f64);
  const double largest = got.dtype() == DType::bf16 ? 256 : 1 << 24;
  for (int64_t i = 0; i < g.size(); ++i) {
    ASSERT_LE(std::abs(expected.data<double>()[i]), largest) << what << ": the test's own sums are not exact";
    ASSERT_EQ(g.data<double>()[i], expected.data<double>()[i]) << what << ", element " << i;
  }
}

// Memory of exactly so many bytes, full of rubbish; says in the end whether anyone wrote behind it.
class Guarded {
 public:
  explicit Guarded(size_t bytes)
      : bytes_(bytes), memory_(Tensor::empty({static_cast<int64_t>(bytes + kGuard)}, DType::u8)) {
    std::memset(data(), 0xff, bytes + kGuard);  // NaN in every float type
  }
  ~Guarded() {
    for (size_t i = 0; i < kGuard; ++i)
      EXPECT_EQ(static_cast<uint8_t*>(data())[bytes_ + i], 0xff) << "written past the end of " << bytes_ << " bytes";
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  void* data() const { return memory_.view().data; }

 private:
  static constexpr size_t kGuard = 64;
  size_t bytes_;
  Tensor memory_;
};

}  // namespace metvox::test
