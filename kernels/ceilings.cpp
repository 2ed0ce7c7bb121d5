// SPDX-License-Identifier: Apache-2.0
#include "kernels/ceilings.h"

#include "kernels/cublas/product.h"
#include "kernels/cuda/ceilings.h"
#include "kernels/pointwise.h"
#include "kernels/tuner.h"
#include "tensor/random.h"

namespace metvox {
namespace {

// Multiply-adds of a number of the loop in one instruction.
int inner(DType dtype, bool tf32) { return tf32 ? 8 : dtype == DType::f32 ? 1 : 16; }

double ms_of(Stream& stream, const std::function<void(int)>& run) { return time_runs(stream, run, 1e30); }

double copy_gb_per_s(Stream& stream, int64_t bytes) {
  const Tensor from = Tensor::zeros({bytes}, DType::u8, stream.device(), "copied from"),
               to = Tensor::zeros({bytes}, DType::u8, stream.device(), "copied to");
  return 2 * static_cast<double>(bytes) / ms_of(stream, [&](int) { transfer(stream, from.view(), to.view()); }) / 1e6;
}

#if METVOX_CUBLAS
// Zeros would need less power, and give a rate that no layer has. Every row is one of the first 64.
Tensor random_rows(Stream& stream, int64_t size, DType dtype) {
  int64_t rows = 64;
  const Tensor host = Tensor::empty({rows, size}, DType::f32),
               all = Tensor::zeros({size, size}, dtype, stream.device());
  Random random(1, 1);
  for (int64_t i = 0; i < host.size(); ++i) host.data<float>()[i] = static_cast<float>(random.normal());
  convert(stream, host.to(stream.device()).view(), all.slice(0, rows).view());
  for (; rows < size; rows *= 2) transfer(stream, all.slice(0, rows).view(), all.slice(rows, rows).view());
  stream.synchronize();
  return all;
}

double cublas_gflops(Stream& stream, DType dtype, bool tf32) {
  constexpr int64_t kSize = 8192;
  const Tensor a = random_rows(stream, kSize, dtype), b = a.clone(), c = a.clone();
  const Tensor workspace = Tensor::zeros({int64_t{cublas::kWorkspace}}, DType::u8, stream.device(), "workspace");
  const auto matrix = [&](const Tensor& t) { return cublas::Matrix{t.view().data, dtype, kSize}; };
  const double ms = ms_of(stream, [&](int) {
    cublas::multiply(stream, {.m = kSize, .n = kSize, .inner = kSize, .tf32 = tf32}, matrix(a), matrix(b), matrix(c),
                     workspace.view().data);
  });
  return 2.0 * kSize * kSize * kSize / ms / 1e6;
}
#endif

}  // namespace

void multiply_registers(Stream& stream, DType dtype, bool tf32, int times, float value, View out) {
  METVOX_ON_DEVICE(stream, multiply_registers(stream, dtype, tf32, times, value, out))
  fail(Fault::internal, "multiply_registers: for GPUs");
}

double register_sum(DType dtype, bool tf32, int times, float value) {
  const double product = static_cast<double>(value) * static_cast<double>(value);
  return RegisterLoop::kSums * times * product * inner(dtype, tf32);
}

double register_flops(DType dtype, bool tf32, int times, int64_t threads) {
  return 2.0 * RegisterLoop::kSums * times * static_cast<double>(threads) * inner(dtype, tf32);
}

Ceilings measure_ceilings(const Target& gpu) {
  const bool real = gpu.device.kind == Device::Kind::cuda;
  Stream stream(gpu.device);
  Ceilings c;
  c.gb_per_s = copy_gb_per_s(stream, real ? int64_t{256} << 20 : int64_t{1} << 20);
  const int times = real ? 4096 : 2;
  const Tensor out = Tensor::zeros({(real ? 2048 : 2) * RegisterLoop::kThreads}, DType::f32, gpu.device, "sums");
  const double ms =
      ms_of(stream, [&](int) { multiply_registers(stream, gpu.dtype, gpu.tf32, times, 0.5f, out.view()); });
  c.gflops = register_flops(gpu.dtype, gpu.tf32, times, out.size()) / ms / 1e6;
  c.of_what = inner(gpu.dtype, gpu.tf32) == 1 ? "multiply-adds on registers" : "mma.sync on registers";
#if METVOX_CUBLAS
  if (!real || !cublas::library().why.empty()) return c;
  const double product = cublas_gflops(stream, gpu.dtype, gpu.tf32);
  if (product > c.gflops) c.gflops = product, c.of_what = "cuBLAS, 8192 x 8192 x 8192";
#endif
  return c;
}

}  // namespace metvox
