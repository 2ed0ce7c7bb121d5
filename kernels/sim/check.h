// SPDX-License-Identifier: Apache-2.0
// What the checked build (SIMT_CHECK) hooks into the executor: every access of a kernel to shared and device memory,
// and every event that orders threads. Elsewhere all of it is nothing.
#pragma once
#include <cstddef>

#include "kernels/sim/block.h"

namespace simt {

#if defined(SIMT_CHECK)
inline constexpr bool kChecked = true;
#else
inline constexpr bool kChecked = false;
#endif

enum class Access { read, write, atomic };

#if defined(SIMT_CHECK)

// Of thread t, now or (for an asynchronous copy) in its name; pc is what the report's source line comes from.
void check_access(const void* p, size_t bytes, Access access, const void* pc, Thread& t);
void mark_initialised(const void* p, size_t bytes,
                      bool initialised);  // from outside of a kernel, or by a copy under way
void checked_launch_begins();
void checked_block_begins(Block& b);
void fence_reached(Thread& t);                       // __threadfence
void join_clocks(Thread* const* threads, size_t n);  // all of them are ordered with all
// While one lives, the accesses of instrumented code on this OS thread are the executor's own.
class InRuntime {
 public:
  InRuntime();
  ~InRuntime();
};

#else

inline void check_access(const void*, size_t, Access, const void*, Thread&) {}
inline void mark_initialised(const void*, size_t, bool) {}
inline void checked_launch_begins() {}
inline void checked_block_begins(Block&) {}
inline void fence_reached(Thread&) {}
inline void join_clocks(Thread* const*, size_t) {}
struct InRuntime {};

#endif

}  // namespace simt
