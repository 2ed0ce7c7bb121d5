// SPDX-License-Identifier: Apache-2.0
// ldmatrix and mma as the PTX manual describes their fragments ("Matrix fragments for mma.m16n8k16", "ldmatrix").
// Lane l is row g = l / 4 of an 8 x 8 matrix, columns 2 t and 2 t + 1, t = l % 4.
#include <bit>
#include <cstring>

#include "kernels/sim/block.h"
#include "kernels/sim/check.h"
#include "kernels/sim/report.h"
#include "tensor/dtype.h"
#include "tensor/error.h"

namespace simt {
namespace {

using metvox::bf16;
using metvox::f16;

constexpr uint32_t kWholeWarp = ~0u;

struct LoadMatrix {
  int matrices;
  bool transposed;
  uint32_t* fragment;
  const char* row;
  const void* pc;
  Thread* thread;
};

void load_matrices(void* const* args, uint32_t) {
  const auto lane = [&](int l) -> const LoadMatrix& { return *static_cast<const LoadMatrix*>(args[l]); };
  for (int m = 0; m < lane(0).matrices; ++m) {
    uint16_t rows[8][8];
    for (int i = 0; i < 8; ++i) {
      const LoadMatrix& from = lane(m * 8 + i);
      check_access(from.row, 16, Access::read, from.pc, *from.thread);
      std::memcpy(rows[i], from.row, 16);
    }
    for (int l = 0; l < 32; ++l) {
      const int g = l / 4, t = l % 4 * 2;
      const bool tr = lane(l).transposed;
      const uint16_t low = tr ? rows[t][g] : rows[g][t], high = tr ? rows[t + 1][g] : rows[g][t + 1];
      lane(l).fragment[m] = low | static_cast<uint32_t>(high) << 16;
    }
  }
}

struct Multiply {
  float* d;
  const uint32_t *a, *b;
};

float tf32_to_float(uint32_t bits) { return std::bit_cast<float>(bits & ~0x1fffu); }  // the device ignores the rest

// A fragment's register q holds two neighbours in a row (16 bits each) or one number (tf32).
struct Pair {
  float low, high;
};
template <class T>
Pair unpack(uint32_t bits) {
  const auto low = static_cast<uint16_t>(bits), high = static_cast<uint16_t>(bits >> 16);
  return {float(std::bit_cast<T>(low)), float(std::bit_cast<T>(high))};
}

template <class T>
void gather16(const Multiply& lane, int g, int t, float (&a)[16][16], float (&b)[16][8]) {
  for (int q = 0; q < 4; ++q) {
    const Pair p = unpack<T>(lane.a[q]);
    float* to = &a[g + q % 2 * 8][2 * t + q / 2 * 8];
    to[0] = p.low, to[1] = p.high;
  }
  for (int q = 0; q < 2; ++q) {
    const Pair p = unpack<T>(lane.b[q]);
    b[2 * t + q * 8][g] = p.low, b[2 * t + q * 8 + 1][g] = p.high;
  }
}

void gather_tf32(const Multiply& lane, int g, int t, float (&a)[16][16], float (&b)[16][8]) {
  for (int q = 0; q < 4; ++q) a[g + q % 2 * 8][t + q / 2 * 4] = tf32_to_float(lane.a[q]);
  for (int q = 0; q < 2; ++q) b[t + q * 4][g] = tf32_to_float(lane.b[q]);
}

template <Format format>
void multiply(void* const* args, uint32_t) {
  using Row = float __attribute__((vector_size(32)));
  float a[16][16];
  alignas(32) float b[16][8], d[16][8];
  for (int l = 0; l < 32; ++l) {
    const auto& lane = *static_cast<const Multiply*>(args[l]);
    const int g = l / 4, t = l % 4;
    if constexpr (format == Format::tf32) gather_tf32(lane, g, t, a, b);
    else gather16<std::conditional_t<format == Format::f16, f16, bf16>>(lane, g, t, a, b);
    for (int q = 0; q < 4; ++q) d[g + q / 2 * 8][2 * t + q % 2] = lane.d[q];
  }
  constexpr int depth = format == Format::tf32 ? 8 : 16;
  for (int i = 0; i < 16; ++i) {
    Row sum{};
    for (int k = 0; k < depth; ++k) sum += a[i][k] * *reinterpret_cast<const Row*>(b[k]);
    *reinterpret_cast<Row*>(d[i]) += sum;
  }
  for (int l = 0; l < 32; ++l) {
    const int g = l / 4, t = l % 4;
    for (int q = 0; q < 4; ++q) static_cast<Multiply*>(args[l])->d[q] = d[g + q / 2 * 8][2 * t + q % 2];
  }
}

}  // namespace

void load_matrix(int matrices, bool transposed, uint32_t* fragment, const void* row, Site at) {
  Block& b = *running_block;
  LoadMatrix mine{matrices,   transposed, fragment, static_cast<const char*>(row), __builtin_return_address(0),
                  b.current()};
  if (static_cast<int>(b.current()->lane()) < matrices * 8 && shared_address(row) % 16)
    b.fail(metvox::sentence("misaligned access: ldmatrix row at ", source_of(mine.pc)));
  warp_collective("ldmatrix", kWholeWarp, &mine, load_matrices, at);
}

void multiply_matrix(Format format, float* d, const uint32_t* a, const uint32_t* b, Site at) {
  if (running_block->how.arch < 800 && format != Format::f16) fail("mma: bf16 and tf32 need sm_80");
  constexpr Combine of[] = {multiply<Format::f16>, multiply<Format::bf16>, multiply<Format::tf32>};
  Multiply mine{d, a, b};
  warp_collective("mma", kWholeWarp, &mine, of[static_cast<int>(format)], at);
}

}  // namespace simt
