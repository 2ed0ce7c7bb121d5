// SPDX-License-Identifier: Apache-2.0
// Tensors of tests on the simulated GPU, each in an allocation of its own, whose guard bytes the executor watches.
#pragma once
#include "kernels/pointwise.h"
#include "tests/support/real_numbers.h"

namespace metvox::test {

constexpr Device kSim{Device::Kind::sim};

// A copy on the sim device of a tensor on the host, in `dtype`.
inline Tensor on_sim(const Tensor& from, DType dtype, std::string_view name) {
  Stream host, stream(kSim);
  const Tensor same = Tensor::empty(from.shape(), dtype), to = Tensor::empty(from.shape(), dtype, kSim, name);
  convert(host, from.view(), same.view());
  transfer(stream, same.view(), to.view());
  return to;
}

// A copy on the host, in f64.
inline Tensor in_double(const Tensor& from) {
  Stream host;
  const Tensor same = from.to({}), to = Tensor::empty(from.shape(), DType::f64);
  convert(host, same.view(), to.view());
  return to;
}

// |got - expected| / |expected|
inline double apart(const Tensor& got, const Tensor& expected) {
  Tensor difference = got.clone();
  for (int64_t i = 0; i < got.size(); ++i) difference.data<double>()[i] -= expected.data<double>()[i];
  return root_mean_square(difference) / root_mean_square(expected);
}

// Of one rounding to the type: the distance of neighbours at 1, halved.
inline double unit_roundoff(DType t) {
  return t == DType::f32 ? 0x1p-24 : t == DType::f16 ? 0x1p-11 : t == DType::bf16 ? 0x1p-8 : 0x1p-53;
}

}  // namespace metvox::test
