// SPDX-License-Identifier: Apache-2.0
// What GCC calls from code compiled with -fsanitize=thread,alignment,bounds. The names are the sanitizers'; the runtime
// is ours: no libtsan, no libubsan. Outside of kernels all of it is silent.
#include "kernels/sim/check.h"

#if defined(SIMT_CHECK)

#include <cstdint>

#include "kernels/sim/report.h"
#include "tensor/error.h"

namespace {

using simt::Access;
using simt::Thread;

// The thread of a kernel that runs, unless the executor works in its name.
Thread* kernel_thread() {
  Thread* t = simt::running_block ? simt::running_block->current() : nullptr;
  return t && !t->in_runtime ? t : nullptr;
}

void accessed(const void* p, size_t bytes, Access access, bool aligned, const void* pc) {
  Thread* t = kernel_thread();
  if (!t) return;
  const simt::InRuntime guard;
  if (aligned) simt::check_alignment(p, bytes, access == Access::write, pc, *t);
  simt::check_access(p, bytes, access, pc, *t);
}

// As in GCC's libsanitizer, ubsan_value.h and ubsan_handlers.h.
struct SourceLocation {
  const char* file;
  uint32_t line, column;
};
struct TypeDescriptor {
  uint16_t kind, info;
  char name[1];  // quoted
};
struct TypeMismatch {
  SourceLocation at;
  const TypeDescriptor& type;
  unsigned char log_alignment, check_kind;
};
struct OutOfBounds {
  SourceLocation at;
  const TypeDescriptor &array, &index;
};

}  // namespace

#pragma GCC diagnostic ignored "-Wmissing-declarations"
extern "C" {

void __tsan_init() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_read_range(void* p, size_t n) { accessed(p, n, Access::read, false, __builtin_return_address(0)); }
void __tsan_write_range(void* p, size_t n) { accessed(p, n, Access::write, false, __builtin_return_address(0)); }

#define METVOX_ACCESS(N)                                                                                       \
  void __tsan_read##N(void* p) { accessed(p, N, Access::read, true, __builtin_return_address(0)); }            \
  void __tsan_write##N(void* p) { accessed(p, N, Access::write, true, __builtin_return_address(0)); }          \
  void __tsan_volatile_read##N(void* p) { accessed(p, N, Access::read, true, __builtin_return_address(0)); }   \
  void __tsan_volatile_write##N(void* p) { accessed(p, N, Access::write, true, __builtin_return_address(0)); } \
  void __tsan_unaligned_read##N(void* p) { accessed(p, N, Access::read, false, __builtin_return_address(0)); } \
  void __tsan_unaligned_write##N(void* p) { accessed(p, N, Access::write, false, __builtin_return_address(0)); }
METVOX_ACCESS(1)
METVOX_ACCESS(2)
METVOX_ACCESS(4)
METVOX_ACCESS(8)
METVOX_ACCESS(16)
#undef METVOX_ACCESS

// Atomics of host code in kernel files (shared_ptr, static variables); kernels use CUDA's, which are the executor's.
#define METVOX_ATOMIC(BITS, T)                                                                                      \
  T __tsan_atomic##BITS##_load(const volatile T* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }           \
  void __tsan_atomic##BITS##_store(volatile T* p, T v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }           \
  T __tsan_atomic##BITS##_exchange(volatile T* p, T v, int) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##BITS##_fetch_add(volatile T* p, T v, int) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##BITS##_fetch_sub(volatile T* p, T v, int) { return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); } \
  bool __tsan_atomic##BITS##_compare_exchange_strong(volatile T* p, T* expected, T v, int, int) {                   \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                  \
  }                                                                                                                 \
  bool __tsan_atomic##BITS##_compare_exchange_weak(volatile T* p, T* expected, T v, int, int) {                     \
    return __atomic_compare_exchange_n(p, expected, v, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                   \
  }
METVOX_ATOMIC(8, uint8_t)
METVOX_ATOMIC(16, uint16_t)
METVOX_ATOMIC(32, uint32_t)
METVOX_ATOMIC(64, uint64_t)
#undef METVOX_ATOMIC
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

void __ubsan_handle_type_mismatch_v1(TypeMismatch* what, uintptr_t p) {
  Thread* t = kernel_thread();
  if (!t) return;
  const simt::InRuntime guard;
  const size_t alignment = size_t{1} << what->log_alignment;
  if (p % alignment)
    simt::check_alignment(reinterpret_cast<const void*>(p), alignment, what->check_kind == 1,
                          __builtin_return_address(0), *t);
}

void __ubsan_handle_out_of_bounds(OutOfBounds* what, uintptr_t index) {
  Thread* t = kernel_thread();
  if (!t) return;
  const simt::InRuntime guard;
  simt::index_left(metvox::sentence("index ", static_cast<intptr_t>(index), " out of bounds of ", what->array.name),
                   *t);
}
}

#endif
