// SPDX-License-Identifier: Apache-2.0
#include "tests/kernels/conformance/wrappers.h"

#include "kernels/cuda/ptx.h"
#include "tests/kernels/conformance/digits.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

__global__ void shuffles(const uint32_t* in, uint32_t* out) {
  const uint32_t t = threadIdx.x, v = in[t];
  out[t] = __shfl_sync(~0u, v, static_cast<int>(v % 64), 16);
  out[32 + t] = __shfl_xor_sync(~0u, v, 21);
  out[64 + t] = __shfl_up_sync(~0u, v, 3, 8);
  out[96 + t] = __shfl_down_sync(~0u, v, 5);
}

__global__ void votes(const uint32_t* in, uint32_t* out) {
  const int t = threadIdx.x, odd = in[t] & 1;
  out[t] = __ballot_sync(~0u, odd);
  out[64 + t] = static_cast<uint32_t>(__any_sync(~0u, in[t] % 8 == 0) + 2 * __all_sync(~0u, in[t] % 8 < 7));
  out[128 + t] =
      static_cast<uint32_t>(__syncthreads_count(odd) + 256 * __syncthreads_and(odd) + 512 * __syncthreads_or(odd));
}

__global__ void atomics(const uint32_t* in, uint32_t* out) {
  if (threadIdx.x < 4) out[threadIdx.x] = threadIdx.x == 2 ? ~0u : 0;
  __syncthreads();
  atomicAdd(&out[0], in[threadIdx.x]);
  atomicMax(&out[1], in[threadIdx.x]);
  atomicMin(&out[2], in[threadIdx.x]);
  atomicOr(&out[3], 1u << in[threadIdx.x] % 32);
}

__global__ void conversions(const uint32_t* in, uint32_t* out) {
  const uint32_t t = threadIdx.x;
  const uint32_t word = t % 4 ? in[t] : 0x33000000u + in[t] % 0x6000000u;  // every fourth near f16's smallest
  const float v = bits_as<float>(finite_or_infinite(word));
  const bf16 b = from_float<bf16>(v);
  const f16 h = from_float<f16>(v);
  out[t] = b.bits | static_cast<uint32_t>(h.bits) << 16;
  out[256 + t] = bits_as<uint32_t>(to_float(b));
  out[512 + t] = bits_as<uint32_t>(to_float(h));
}

__global__ void roundings(const uint32_t* in, uint32_t* out) {
  const uint32_t t = threadIdx.x;
  out[t] = to_tf32(bits_as<float>(word_for_tf32(in[t], t)));
}

__global__ void cp_async(const uint32_t* in, uint32_t* out) {
  METVOX_SHARED(uint32_t, s, [256]);
  const int t = threadIdx.x;
  cp_async16(&s[4 * t], in + 4 * (63 - t), t % 5 != 0);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  for (int i = t; i < 256; i += 64) out[i] = s[i];
}

__global__ void named_barriers(const uint32_t* in, uint32_t* out) {
  METVOX_SHARED(uint32_t, s, [128]);
  const int t = threadIdx.x, group = t / 64;
  s[t] = in[t];
  named_barrier(1 + group, 64);
  out[t] = s[group * 64 + 63 - t % 64];
}

__global__ void ldmatrix(const uint32_t* in, uint32_t* out) {
  METVOX_SHARED(uint32_t, s, [32][4]);  // 4 matrices of 8 rows of 8 16-bit numbers
  const int t = threadIdx.x;
  for (int i = 0; i < 4; ++i) s[t][i] = in[4 * t + i];
  __syncwarp();
  uint32_t four[4], two[2];
  ldmatrix_x4(four, s[t]);
  for (int i = 0; i < 4; ++i) out[32 * i + t] = four[i];
  ldmatrix_x4_trans(four, s[t]);
  for (int i = 0; i < 4; ++i) out[128 + 32 * i + t] = four[i];
  ldmatrix_x2(two, s[t % 16]);
  for (int i = 0; i < 2; ++i) out[256 + 32 * i + t] = two[i];
  ldmatrix_x2_trans(two, s[t % 16]);
  for (int i = 0; i < 2; ++i) out[320 + 32 * i + t] = two[i];
}

// in: A (16, 16), then B (8, 16), as digits; out: D (16, 8).
template <class T>
__global__ void mma(const uint32_t* in, uint32_t* out) {
  const int t = threadIdx.x, g = t / 4, c = t % 4 * 2;
  const auto pair = [&](int row, int column) {
    return pack<T>(digit(in[row * 16 + column]), digit(in[row * 16 + column + 1]));
  };
  const uint32_t a[4] = {pair(g, c), pair(g + 8, c), pair(g, c + 8), pair(g + 8, c + 8)};
  const uint32_t b[2] = {pair(16 + g, c), pair(16 + g, c + 8)};
  float d[4] = {};
  mma_m16n8k16<T>(d, a, b);
  for (int j = 0; j < 4; ++j) out[(g + j / 2 * 8) * 8 + c + j % 2] = bits_as<uint32_t>(d[j]);
}

// Two steps of 8 over the same matrices.
__global__ void mma_tf32(const uint32_t* in, uint32_t* out) {
  const int t = threadIdx.x, g = t / 4, c = t % 4;
  float d[4] = {};
  for (int k = 0; k < 16; k += 8) {
    const auto at = [&](int row, int column) { return to_tf32(digit(in[row * 16 + k + column])); };
    const uint32_t a[4] = {at(g, c), at(g + 8, c), at(g, c + 4), at(g + 8, c + 4)};
    const uint32_t b[2] = {at(16 + g, c), at(16 + g, c + 4)};
    mma_tf32_m16n8k8(d, a, b);
  }
  for (int j = 0; j < 4; ++j) out[(g + j / 2 * 8) * 8 + 2 * c + j % 2] = bits_as<uint32_t>(d[j]);
}

template <auto kKernel, int kThreads>
void run(Stream& stream, uint32_t* in, uint32_t* out) {
  launch(kKernel, dim3(1), dim3(kThreads), 0, stream, in, out);
}

}  // namespace

std::vector<Wrapper> wrappers() {
  constexpr size_t kMatrices = 24 * 16, kProduct = 16 * 8;
  return {
      {"shuffles", 32, 128, run<shuffles, 32>},
      {"votes", 64, 192, run<votes, 64>},
      {"atomics", 128, 4, run<atomics, 128>},
      {"conversions", 256, 768, run<conversions, 256>},
      {"to_tf32", 256, 256, run<roundings, 256>, 800},
      {"cp_async", 256, 256, run<cp_async, 64>},
      {"named_barriers", 128, 128, run<named_barriers, 128>},
      {"ldmatrix", 128, 384, run<ldmatrix, 32>},
      {"mma_f16", kMatrices, kProduct, run<mma<f16>, 32>},
      {"mma_bf16", kMatrices, kProduct, run<mma<bf16>, 32>, 800},
      {"mma_tf32", kMatrices, kProduct, run<mma_tf32, 32>, 800},
  };
}

}  // namespace metvox::METVOX_KERNEL_NS
