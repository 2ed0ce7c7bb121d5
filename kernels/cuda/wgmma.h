// SPDX-License-Identifier: Apache-2.0
// wgmma<T, N>: D (64 x N, f32, this thread's N / 2 registers) += A (64 x 16) B (16 x N) by the 128 threads of a
// warpgroup; T is bf16 or f16, N 16, 32, 48, 64, 96, 128, 192 or 256. Included by hopper.h, as part of it.
#pragma once
#include "kernels/cuda/hopper.h"

namespace metvox::METVOX_KERNEL_NS {

#if METVOX_HOPPER && defined(__CUDACC__)

// Of the instruction for each N: the text that lists D's registers, and D as operands.
#define METVOX_R_16 "%0,%1,%2,%3,%4,%5,%6,%7"
#define METVOX_R_32 METVOX_R_16 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define METVOX_R_48 METVOX_R_32 ",%16,%17,%18,%19,%20,%21,%22,%23"
#define METVOX_R_64 METVOX_R_32 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define METVOX_R_96 METVOX_R_64 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define METVOX_R_128 METVOX_R_96 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define METVOX_R_160 METVOX_R_128 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"
#define METVOX_R_192 METVOX_R_160 ",%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define METVOX_R_224 METVOX_R_192 ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111"
#define METVOX_R_256 METVOX_R_224 ",%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define METVOX_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define METVOX_D16(i) METVOX_D4(i), METVOX_D4(i + 4), METVOX_D4(i + 8), METVOX_D4(i + 12)
#define METVOX_D_16 METVOX_D4(0), METVOX_D4(4)
#define METVOX_D_32 METVOX_D16(0)
#define METVOX_D_48 METVOX_D_32, METVOX_D4(16), METVOX_D4(20)
#define METVOX_D_64 METVOX_D_32, METVOX_D16(16)
#define METVOX_D_96 METVOX_D_64, METVOX_D16(32)
#define METVOX_D_128 METVOX_D_96, METVOX_D16(48)
#define METVOX_D_192 METVOX_D_128, METVOX_D16(64), METVOX_D16(80)
#define METVOX_D_256 METVOX_D_192, METVOX_D16(96), METVOX_D16(112)

// P0 to P6: the numbers of the operands after D. First with A by descriptor, then from registers.
#define METVOX_WGMMA_TYPED(N, TYPE, P0, P1, P2, P3, P4)                                             \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " P2                                               \
               ", 0;\n"                                                                             \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" METVOX_R_##N    \
               "}, " P0 ", " P1 ", p, 1, 1, " P3 ", " P4 ";\n}"                                     \
               : METVOX_D_##N                                                                       \
               : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(kMajorA)), \
                 "n"(static_cast<int>(kMajorB)))
#define METVOX_WGMMA_RS_TYPED(N, TYPE, P0, P1, P2, P3, P4, P5, P6)                                      \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " P5                                                   \
               ", 0;\n"                                                                                 \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" METVOX_R_##N        \
               "}, {" P0 "," P1 "," P2 "," P3 "}, " P4 ", p, 1, 1, " P6 ";\n}"                          \
               : METVOX_D_##N                                                                           \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)), \
                 "n"(static_cast<int>(kMajorB)))
#define METVOX_WGMMA(N, P0, P1, P2, P3, P4, P5, P6)                                                          \
  template <class T, Major kMajorA, Major kMajorB>                                                           \
  METVOX_DEVICE void wgmma_registers(float(&d)[N / 2], uint64_t a, uint64_t b, bool accumulate) {            \
    if constexpr (std::is_same_v<T, bf16>) METVOX_WGMMA_TYPED(N, "bf16", P0, P1, P2, P3, P4);                \
    else METVOX_WGMMA_TYPED(N, "f16", P0, P1, P2, P3, P4);                                                   \
  }                                                                                                          \
  template <class T, Major kMajorB>                                                                          \
  METVOX_DEVICE void wgmma_registers(float(&d)[N / 2], const uint32_t(&a)[4], uint64_t b, bool accumulate) { \
    if constexpr (std::is_same_v<T, bf16>) METVOX_WGMMA_RS_TYPED(N, "bf16", P0, P1, P2, P3, P4, P5, P6);     \
    else METVOX_WGMMA_RS_TYPED(N, "f16", P0, P1, P2, P3, P4, P5, P6);                                        \
  }
METVOX_WGMMA(16, "%8", "%9", "%10", "%11", "%12", "%13", "%14")
METVOX_WGMMA(32, "%16", "%17", "%18", "%19", "%20", "%21", "%22")
METVOX_WGMMA(48, "%24", "%25", "%26", "%27", "%28", "%29", "%30")
METVOX_WGMMA(64, "%32", "%33", "%34", "%35", "%36", "%37", "%38")
METVOX_WGMMA(96, "%48", "%49", "%50", "%51", "%52", "%53", "%54")
METVOX_WGMMA(128, "%64", "%65", "%66", "%67", "%68", "%69", "%70")
METVOX_WGMMA(192, "%96", "%97", "%98", "%99", "%100", "%101", "%102")
METVOX_WGMMA(256, "%128", "%129", "%130", "%131", "%132", "%133", "%134")
#undef METVOX_WGMMA
#undef METVOX_WGMMA_RS_TYPED
#undef METVOX_WGMMA_TYPED

// A and B by descriptor. Between wgmma_fence(registers...), which names d and A's where they were written since the last
// products, and wgmma_commit(). d is right after wgmma_wait<N>(d), where N is how many committed groups may still be
// under way; wgmma_wait<N>() alone is for waits after which every d still is.
template <class T, int N, Major kMajorA = Major::k, Major kMajorB = Major::k>
METVOX_DEVICE void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate = true) {
  wgmma_registers<T, kMajorA, kMajorB>(d, a, b, accumulate);
}
// A from registers, as fragments of mma_m16n8k16: warp w of the warpgroup has rows 16 w to 16 w + 15.
template <class T, int N, Major kMajorB = Major::k>
METVOX_DEVICE void wgmma(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate = true) {
  wgmma_registers<T, kMajorB>(d, a, b, accumulate);
}

#elif METVOX_HOPPER

template <class T>
constexpr simt::Format kFormat = std::is_same_v<T, bf16> ? simt::Format::bf16 : simt::Format::f16;

template <class T, int N, Major kMajorA = Major::k, Major kMajorB = Major::k>
METVOX_DEVICE void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate = true,
                         simt::Site at = simt::Site::here()) {
  simt::wgmma({kFormat<T>, N, d, nullptr, a, b, kMajorA == Major::mn, kMajorB == Major::mn, accumulate}, at);
}
template <class T, int N, Major kMajorB = Major::k>
METVOX_DEVICE void wgmma(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate = true,
                         simt::Site at = simt::Site::here()) {
  simt::wgmma({kFormat<T>, N, d, a, 0, b, false, kMajorB == Major::mn, accumulate}, at);
}

#endif

}  // namespace metvox::METVOX_KERNEL_NS
