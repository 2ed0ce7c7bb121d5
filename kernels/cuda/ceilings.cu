// SPDX-License-Identifier: Apache-2.0
// The rate of the units that convolutions compute on, fed from registers alone. Not yet run on hardware.
#include "kernels/cuda/ceilings.h"

#include "kernels/cuda/product.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

template <class F>
__global__ void __launch_bounds__(RegisterLoop::kThreads) register_loop(int times, float value, float* out) {
  float sum[RegisterLoop::kSums / 4][4] = {};
  if constexpr (std::is_same_v<F, float>) {
    for (int i = 0; i < times; ++i)
#pragma unroll
      for (auto& four : sum)
#pragma unroll
        for (float& s : four) s = __fmaf_rn(value, value, s);
  } else {
    uint32_t factor;
    if constexpr (std::is_same_v<F, Tf32>) factor = to_tf32(value);
    else factor = pack<F>(value, value);
    const uint32_t a[4] = {factor, factor, factor, factor}, b[2] = {factor, factor};
    for (int i = 0; i < times; ++i)
#pragma unroll
      for (auto& four : sum) multiply<F>(four, a, b);
  }
  float total = 0;
#pragma unroll
  for (const auto& four : sum)
#pragma unroll
    for (const float s : four) total += s;
  out[blockIdx.x * RegisterLoop::kThreads + threadIdx.x] = total;
}

}  // namespace

void multiply_registers(Stream& stream, DType dtype, bool tf32, int times, float value, View out) {
  const dim3 grid(static_cast<unsigned>(out.size() / RegisterLoop::kThreads));
  dispatch_format(dtype, tf32, [&]<class F>() {
    launch(register_loop<F>, grid, dim3(RegisterLoop::kThreads), 0, stream, times, value, out.as<float>());
  });
}

}  // namespace metvox::METVOX_KERNEL_NS
