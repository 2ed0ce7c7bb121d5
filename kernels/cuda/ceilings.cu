// SPDX-License-Identifier: Apache-2.0
// The rate of the units that convolutions compute on, fed from registers alone. Not yet run on hardware.
#include "kernels/cuda/ceilings.h"

#include "kernels/cuda/ptx.h"
#include "kernels/cuda/vector.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

template <class T>
__global__ void __launch_bounds__(RegisterLoop::kThreads) multiply(int times, float value, float* out) {
  float sum[RegisterLoop::kSums / 4][4] = {};
  if constexpr (std::is_same_v<T, float>) {
    for (int i = 0; i < times; ++i)
#pragma unroll
      for (auto& four : sum)
#pragma unroll
        for (float& s : four) s = __fmaf_rn(value, value, s);
  } else {
    const uint32_t pair = pack<T>(value, value), a[4] = {pair, pair, pair, pair}, b[2] = {pair, pair};
    for (int i = 0; i < times; ++i)
#pragma unroll
      for (auto& four : sum) mma_m16n8k16<T>(four, a, b);
  }
  float total = 0;
#pragma unroll
  for (const auto& four : sum)
#pragma unroll
    for (const float s : four) total += s;
  out[blockIdx.x * RegisterLoop::kThreads + threadIdx.x] = total;
}

}  // namespace

void multiply_registers(Stream& stream, DType dtype, int times, float value, View out) {
  const dim3 grid(static_cast<unsigned>(out.size() / RegisterLoop::kThreads));
  dispatch_type(dtype, [&]<class T>() {
    launch(multiply<T>, grid, dim3(RegisterLoop::kThreads), 0, stream, times, value, out.as<float>());
  });
}

}  // namespace metvox::METVOX_KERNEL_NS
