// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/cuda/hopper.h"
#include "tests/kernels/conformance/digits.h"
#include "tests/kernels/conformance/im2col_cases.h"
#include "tests/kernels/conformance/wrappers.h"

namespace metvox::METVOX_KERNEL_NS {
namespace {

// A box as TMA leaves it in shared memory, out to device memory.
template <int kRank>
__global__ void dump_box(const __grid_constant__ TensorMap map, uint32_t* out, int bytes, int c0, int c1) {
#if METVOX_HOPPER
  METVOX_SHARED_DYN_1024(uint32_t, box);
  METVOX_SHARED(uint64_t, full, );
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, bytes);
    int at[kRank] = {c0, c1};
    tma_load<kRank>(box, map, &full, at);
  }
  mbarrier_wait(&full, 0);
  for (int i = threadIdx.x; i < bytes / 4; i += 128) out[i] = box[i];
#endif
}

// in: (40, 64) 16-bit; a box of (32, 64) from row -4, column 16.
void tma_swizzled(Stream& stream, uint32_t* in, uint32_t* out) {
  const TensorMap map = make_tensor_map({DType::bf16, in, 2, {64, 40}, {0, 128}, {64, 32}, true});
  launch(dump_box<2>, dim3(1), dim3(128), 4096, stream, map, out, 4096, 16, -4);
}

// in: (2, 6, 10, 16) 16-bit, channels last, as groups of 8 channels; a box of (2, 2, 4, 12, 8) from w = -1.
void tma_channel_groups(Stream& stream, uint32_t* in, uint32_t* out) {
  const TensorMap map =
      make_tensor_map({DType::bf16, in, 5, {8, 10, 6, 2, 2}, {0, 32, 320, 16, 1920}, {8, 12, 4, 2, 2}, false});
  launch(dump_box<5>, dim3(1), dim3(128), 3072, stream, map, out, 3072, 0, -1);
}

struct Im2colFirst {
  int c[5], tap[3];
};

__global__ void dump_im2col(const __grid_constant__ TensorMap map, uint32_t* out, int bytes, const Im2colFirst first) {
#if METVOX_HOPPER
  METVOX_SHARED_DYN_1024(uint32_t, rows);
  METVOX_SHARED(uint64_t, full, );
  if (threadIdx.x == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&full, bytes);
    tma_load_im2col(rows, map, &full, first.c, first.tap);
  }
  mbarrier_wait(&full, 0);
  for (int i = threadIdx.x; i < bytes / 4; i += 128) out[i] = rows[i];
#endif
}

template <int kCase>
void im2col(Stream& stream, uint32_t* in, uint32_t* out) {
  const Im2colCase c = im2col_case(kCase);
  const TensorMap map = make_im2col_map({DType::bf16, in, c.n, c.c, c.extent, c.lower, c.upper, c.step, 64, c.pixels});
  Im2colFirst first{};
  std::copy_n(c.first, 5, first.c), std::copy_n(c.tap, 3, first.tap);
  const int bytes = static_cast<int>(c.pixels) * 128;
  launch(dump_im2col, dim3(1), dim3(128), bytes, stream, map, out, bytes, first);
}

template <int kCase>
Wrapper im2col_entry() {
  const Im2colCase c = im2col_case(kCase);
  return {c.name, c.words(), c.pixels * 32, im2col<kCase>, 900, true};
}

constexpr int kMany = 200;  // registers that two of three warpgroups need at once, more than a third of all

// Two warpgroups take the registers that the third gives up, and fill them.
__global__ void __launch_bounds__(384, 1) move_registers(const uint32_t* in, uint32_t* out) {
#if METVOX_HOPPER
  const int t = threadIdx.x;
  if (t >= 256) {
    fewer_registers<24>();
    out[t] = in[t];
    return;
  }
  more_registers<240>();
  uint32_t kept[kMany];
#pragma unroll
  for (int i = 0; i < kMany; ++i) kept[i] = in[(t + i) % 384];
  named_barrier(1, 256);
  uint32_t sum = 0;
#pragma unroll
  for (int i = 0; i < kMany; ++i) sum = sum * 3 + kept[i];
  out[t] = sum;
#endif
}

void hand_on_registers(Stream& stream, uint32_t* in, uint32_t* out) {
  launch(move_registers, dim3(1), dim3(384), 0, stream, in, out);
}

// halo: A as 8 x 8 voxels of a plane of 18 x 18 in groups of 8 channels, from its second row and voxel on: core
// matrices that begin at multiples of 16 bytes, 288 apart.
enum class Layout { swizzled, cores, registers, registers_and_cores, halo };

constexpr int kOperandA = 11264;  // bytes of shared memory at most; then B's

// in: A (64, 16), then B (n, 16), as digits; out: D (64, n). The operands are laid by hand as their descriptors say.
template <class T, int n, Layout kLayout, Major kMajor>
__global__ void product(const uint32_t* in, uint32_t* out) {
#if METVOX_HOPPER
  constexpr bool kSwizzled = kLayout == Layout::swizzled || kLayout == Layout::registers;
  METVOX_SHARED_DYN_1024(char, shared);
  constexpr int kHaloRow = 18 * 16, kHaloGroup = 18 * kHaloRow;
  char *const a = shared + (kLayout == Layout::halo ? kHaloRow + 16 : 0), *const b = shared + kOperandA;
  const auto place = [&](char* operand, int mn, int k) {  // in bytes
    int at = 0;
    if (kLayout == Layout::halo && operand == a) at = mn / 8 * kHaloRow + mn % 8 * 16 + k / 8 * kHaloGroup + k % 8 * 2;
    else if (kSwizzled && kMajor == Major::k) at = mn / 8 * 1024 + mn % 8 * 128 + k * 2;
    else if (kSwizzled) at = mn / 64 * 2048 + mn % 64 * 2 + k / 8 * 1024 + k % 8 * 128;
    else if (kMajor == Major::k) at = mn / 8 * 256 + mn % 8 * 16 + k / 8 * 128 + k % 8 * 2;
    else at = mn / 8 * 256 + mn % 8 * 2 + k / 8 * 128 + k % 8 * 16;
    if (kSwizzled) at ^= (at >> 7 & 7) << 4;
    return reinterpret_cast<T*>(operand + at);
  };
  const int t = threadIdx.x, g = t / 32 * 16 + t % 32 / 4, c = t % 4 * 2;
  for (int i = t; i < 64 * 16; i += 128) *place(a, i / 16, i % 16) = from_float<T>(digit(in[i]));
  for (int i = t; i < n * 16; i += 128) *place(b, i / 16, i % 16) = from_float<T>(digit(in[1024 + i]));
  fence_proxy_async();
  __syncthreads();
  float d[n / 2] = {};
  const auto descriptor = [&](const char* p) {
    return kSwizzled ? descriptor_128(p, 2048) : descriptor_cores(p, 128, 256);
  };
  if constexpr (kLayout == Layout::registers || kLayout == Layout::registers_and_cores) {
    const auto pair = [&](int row, int k) { return pack<T>(digit(in[row * 16 + k]), digit(in[row * 16 + k + 1])); };
    uint32_t fragment[4] = {pair(g, c), pair(g + 8, c), pair(g, c + 8), pair(g + 8, c + 8)};
    wgmma_fence(d, fragment);
    wgmma<T, n, kMajor>(d, fragment, descriptor(b));
  } else if constexpr (kLayout == Layout::halo) {
    wgmma_fence(d);
    wgmma<T, n>(d, descriptor_cores(a, kHaloGroup, kHaloRow), descriptor(b));
  } else {
    wgmma_fence(d);
    wgmma<T, n, kMajor, kMajor>(d, descriptor(a), descriptor(b));
  }
  wgmma_commit();
  wgmma_wait<0>(d);
  for (int j = 0; j < n / 2; ++j) out[(g + j / 2 % 2 * 8) * n + j / 4 * 8 + c + j % 2] = bits_as<uint32_t>(d[j]);
#endif
}

template <class T, int n, Layout kLayout, Major kMajor>
void run(Stream& stream, uint32_t* in, uint32_t* out) {
  launch(product<T, n, kLayout, kMajor>, dim3(1), dim3(128), kOperandA + n * 128, stream, in, out);
}

template <class T, int n, Layout kLayout, Major kMajor>
Wrapper entry(const std::string& name) {
  return {"wgmma_" + name, (64 + n) * 16, 64 * n, run<T, n, kLayout, kMajor>, 900, true};
}

}  // namespace

std::vector<Wrapper> hopper_wrappers() {
  using enum Layout;
  return {
      {"tma_swizzled", 40 * 32, 1024, tma_swizzled, 900, true},
      {"tma_channel_groups", 2 * 6 * 10 * 8, 768, tma_channel_groups, 900, true},
      im2col_entry<0>(),
      im2col_entry<1>(),
      im2col_entry<2>(),
      {"registers", 384, 384, hand_on_registers, 900, true},
      entry<bf16, 32, swizzled, Major::k>("32"),
      entry<f16, 64, swizzled, Major::k>("64_f16"),
      entry<bf16, 96, swizzled, Major::k>("96"),
      entry<bf16, 128, swizzled, Major::k>("128"),
      entry<f16, 192, swizzled, Major::k>("192_f16"),
      entry<bf16, 256, swizzled, Major::k>("256"),
      entry<bf16, 64, swizzled, Major::mn>("64_mn"),
      entry<bf16, 128, swizzled, Major::mn>("128_mn"),
      entry<bf16, 96, cores, Major::k>("96_cores"),
      entry<f16, 48, cores, Major::k>("48_cores_f16"),
      entry<bf16, 96, cores, Major::mn>("96_cores_mn"),
      entry<bf16, 96, halo, Major::k>("96_halo"),
      entry<f16, 48, halo, Major::k>("48_halo_f16"),
      entry<bf16, 96, registers, Major::k>("96_registers"),
      entry<f16, 192, registers, Major::k>("192_registers_f16"),
      entry<f16, 16, registers_and_cores, Major::mn>("16_registers_and_cores_mn_f16"),
      entry<bf16, 32, registers_and_cores, Major::mn>("32_registers_and_cores_mn"),
  };
}

}  // namespace metvox::METVOX_KERNEL_NS
