// SPDX-License-Identifier: Apache-2.0
// The GPU that kernel tests run on, and their tensors there, each in an allocation of its own, whose guard bytes the
// executor watches. It is the simulated one, or with METVOX_TEST_DEVICE=cuda a real one, without which all are skipped.
#pragma once
#include <cstdlib>
#include <string_view>

#include "kernels/on_device.h"
#include "kernels/pointwise.h"
#include "tests/support/real_numbers.h"

namespace metvox::test {

inline Device gpu_of_the_environment() {
  const char* wanted = std::getenv("METVOX_TEST_DEVICE");
  return {wanted && std::string_view(wanted) == "cuda" ? Device::Kind::cuda : Device::Kind::sim};
}
inline const Device kGpu = gpu_of_the_environment();
inline const bool kSimulated = kGpu.kind == Device::Kind::sim;

class NeedsGpu : public testing::Environment {
  void SetUp() override {
    if (device_count(kGpu.kind) == 0) GTEST_SKIP() << "no " << name_of(kGpu) << " here";
  }
};
inline testing::Environment* const kNeedsGpu = testing::AddGlobalTestEnvironment(new NeedsGpu);

inline bool has_tf32() { return driver(kGpu).facts(kGpu.index).arch >= 800; }

// For what is read or written on a stream of its own.
inline void wait_for_gpu() { driver(kGpu).synchronize(kGpu.index, nullptr); }

// A copy on the GPU of a tensor on the host, in `dtype`.
inline Tensor on_gpu(const Tensor& from, DType dtype, std::string_view name) {
  Stream host, stream(kGpu);
  const Tensor same = Tensor::empty(from.shape(), dtype), to = Tensor::empty(from.shape(), dtype, kGpu, name);
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
