// SPDX-License-Identifier: Apache-2.0
// What CUDA C++ can only say in PTX: asynchronous copies and tensor-core instructions for sm_75 and up. On the host
// executor the same functions do what the PTX manual says. `row` and `dst` are shared memory, 16-byte aligned.
#pragma once
#include "kernels/cuda/kernel.h"

namespace metvox::METVOX_KERNEL_NS {

#if defined(__CUDACC__)

METVOX_DEVICE uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// Lanes 0-7 give the row addresses of the first 8 x 8 matrix of 16-bit numbers, 8-15 those of the second, and so on.
METVOX_DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
METVOX_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
METVOX_DEVICE void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
METVOX_DEVICE void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}

// D (16 x 8, f32) += A (16 x 16, row-major) B (16 x 8, column-major); T is f16 or bf16, the latter from sm_80.
template <class T>
METVOX_DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if METVOX_ARCH >= 800
  if constexpr (std::is_same_v<T, bf16>)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif METVOX_ARCH >= 750
  if constexpr (std::is_same_v<T, bf16>) {
    __trap();  // the engine declines bf16 on these devices
  } else {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b[1]));
  }
#endif
}

// The nearest tf32 number, ties away from zero, in a register; then D += A (16 x 8) B (8 x 8) of such. From sm_80.
METVOX_DEVICE uint32_t to_tf32(float v) {
  uint32_t bits = 0;
#if METVOX_ARCH >= 800
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(v));
#endif
  return bits;
}
METVOX_DEVICE void mma_tf32_m16n8k8(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if METVOX_ARCH >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// 16 bytes from global to shared memory, zeros where not ok (src is then not read). A plain copy before sm_80.
METVOX_DEVICE void cp_async16(void* dst, const void* src, bool ok) {
#if METVOX_ARCH >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(dst)), "l"(src), "r"(ok ? 16 : 0)
               : "memory");
#else
  *static_cast<uint4*>(dst) = ok ? *static_cast<const uint4*>(src) : make_uint4(0, 0, 0, 0);
#endif
}
METVOX_DEVICE void cp_async_commit() {
#if METVOX_ARCH >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until at most N of this thread's groups are under way. Other threads' copies need a barrier after this.
template <int N>
METVOX_DEVICE void cp_async_wait() {
#if METVOX_ARCH >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

// Barrier `id` (1 to 15) of `threads` threads, a multiple of 32.
METVOX_DEVICE void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

#else

METVOX_DEVICE uint32_t shared_address(const void* p) { return simt::shared_address(p); }

METVOX_DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void* row, simt::Site at = simt::Site::here()) {
  simt::load_matrix(4, false, r, row, at);
}
METVOX_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, simt::Site at = simt::Site::here()) {
  simt::load_matrix(4, true, r, row, at);
}
METVOX_DEVICE void ldmatrix_x2(uint32_t (&r)[2], const void* row, simt::Site at = simt::Site::here()) {
  simt::load_matrix(2, false, r, row, at);
}
METVOX_DEVICE void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row, simt::Site at = simt::Site::here()) {
  simt::load_matrix(2, true, r, row, at);
}

template <class T>
METVOX_DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                simt::Site at = simt::Site::here()) {
  simt::multiply_matrix(std::is_same_v<T, bf16> ? simt::Format::bf16 : simt::Format::f16, d, a, b, at);
}
// As ptxas assembles it: half of the last place is added and the rest cut off, which infinity and NaN only are.
METVOX_DEVICE uint32_t to_tf32(float v) {
  const auto bits = bits_as<uint32_t>(v);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return (finite ? bits + 0x1000u : bits) & ~0x1fffu;
}
METVOX_DEVICE void mma_tf32_m16n8k8(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                    simt::Site at = simt::Site::here()) {
  simt::multiply_matrix(simt::Format::tf32, d, a, b, at);
}

METVOX_DEVICE void cp_async16(void* dst, const void* src, bool ok) { simt::copy_async16(dst, src, ok); }
METVOX_DEVICE void cp_async_commit() { simt::copy_async_commit(); }
template <int N>
METVOX_DEVICE void cp_async_wait() {
  simt::copy_async_wait(N);
}

METVOX_DEVICE void named_barrier(int id, int threads, simt::Site at = simt::Site::here()) {
  simt::barrier(id, threads, at);
}

#endif

}  // namespace metvox::METVOX_KERNEL_NS
