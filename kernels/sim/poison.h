// SPDX-License-Identifier: Apache-2.0
// Forbidding and allowing memory to code that ASan instruments; nothing in the other builds.
#pragma once
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
namespace simt {
inline void poison(const void* p, size_t bytes) { __asan_poison_memory_region(p, bytes); }
inline void unpoison(const void* p, size_t bytes) { __asan_unpoison_memory_region(p, bytes); }
}  // namespace simt
#else
namespace simt {
inline void poison(const void*, size_t) {}
inline void unpoison(const void*, size_t) {}
}  // namespace simt
#endif
