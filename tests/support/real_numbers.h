// SPDX-License-Identifier: Apache-2.0
// Data that is not exact, and limits for it: c eps sqrt(terms) times the size of what was summed, never typed until
// green.
#pragma once
#include "tests/support/whole_numbers.h"

namespace metvox::test {

// f64, but exact in `dtype`: normal numbers about `mean`.
inline Tensor normal_numbers(const Shape& shape, Random& random, DType dtype, double mean = 0, double deviation = 1) {
  Tensor t = Tensor::empty(shape, DType::f64);
  for (int64_t i = 0; i < t.size(); ++i) t.data<double>()[i] = mean + deviation * random.normal();
  return converted(converted(t, dtype), DType::f64);
}

// A copy of `from` in `dtype`, between guards.
class GuardedTensor {
 public:
  GuardedTensor(const Tensor& from, DType dtype)
      : shape_(from.shape()), dtype_(dtype), memory_(static_cast<size_t>(from.size()) * size_of(dtype)) {
    const Tensor copy = converted(from, dtype);
    std::memcpy(memory_.data(), copy.view().data, copy.bytes());
  }
  View view() const { return {memory_.data(), shape_, dtype_}; }
  Tensor in_double() const {
    Tensor copy = Tensor::empty(shape_, dtype_);
    std::memcpy(copy.view().data, memory_.data(), copy.bytes());
    return converted(copy, DType::f64);
  }

 private:
  Shape shape_;
  DType dtype_;
  Guarded memory_;
};

inline double epsilon(DType t) { return t == DType::f64 ? 0x1p-52 : t == DType::bf16 ? 0x1p-7 : 0x1p-23; }

inline double largest(const Tensor& t) {
  double m = 0;
  for (int64_t i = 0; i < t.size(); ++i) m = std::max(m, std::abs(t.data<double>()[i]));
  return m;
}
inline double root_mean_square(const Tensor& t) {
  double sum = 0;
  for (int64_t i = 0; i < t.size(); ++i) sum += t.data<double>()[i] * t.data<double>()[i];
  return std::sqrt(sum / static_cast<double>(t.size()));
}

// f64 tensors, element by element; a NaN fails.
inline void expect_near(const Tensor& got, const Tensor& expected, double limit, const std::string& what) {
  ASSERT_EQ(got.shape(), expected.shape()) << what;
  double worst = 0;
  int64_t where = 0;
  for (int64_t i = 0; i < got.size(); ++i) {
    const double apart = std::abs(got.data<double>()[i] - expected.data<double>()[i]);
    if (!(apart <= worst)) worst = apart, where = i;
  }
  EXPECT_LE(worst, limit) << what << ", element " << where << ": " << got.data<double>()[where] << ", expected "
                          << expected.data<double>()[where];
}

}  // namespace metvox::test
