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

enum class Access { read, write, atomic, async_read, async_write };  // async: by TMA or wgmma, the "async proxy"

#if defined(SIMT_CHECK)

// Of thread t, now or (for an asynchronous copy) in its name; pc is what the report's source line comes from.
void check_access(const void* p, size_t bytes, Access access, const void* pc, Thread& t);
void check_alignment(const void* p, size_t bytes, bool write, const void* pc, Thread& t);
// An index that left the array type's bounds; the access itself follows, and tells which variable it is.
void index_left(const std::string& what, Thread& t);
void checked_thread_exits(Thread& t);
void mark_initialised(const void* p, size_t bytes,
                      bool initialised);  // from outside of a kernel, or by a copy under way
std::shared_ptr<void> make_shadow(size_t bytes);
void checked_launch_begins();
void checked_block_begins(Block& b);
std::string checked_block_ends();                    // what is to be reported after all, or ""
void fence_reached(Thread& t);                       // __threadfence
void proxy_fence_reached(Thread& t);                 // fence.proxy.async
void join_clocks(Thread* const* threads, size_t n);  // all of them are ordered with all
// One direction: what `from` did so far comes before what happens after acquire_clock.
void release_clock(std::vector<uint32_t>& to, Thread& from);
void acquire_clock(const std::vector<uint32_t>& from, Thread& by);
void merge_clock(std::vector<uint32_t>& to, const std::vector<uint32_t>& from);
// A bulk copy is ordered as a thread of its own: after what its issuer had seen, and before nobody but those who wait
// for its mbarrier's phase. `engine` counts mbarriers, `serial` the copies that announce themselves to one, from 1.
struct Copy {
  uint32_t engine = 0, serial = 0;
};
Copy begin_copy(uint32_t engine, const Thread& issuer);
void release_copy(std::vector<uint32_t>& to, const Copy& copy);  // it has landed
// While one lives, the thread has the clock that it had when it issued an asynchronous operation; a copy's accesses are
// the copy's, not the thread's.
class AsIssued {
 public:
  AsIssued(Thread& t, const std::vector<uint32_t>& clock, const Copy& copy = {});
  ~AsIssued();

 private:
  Thread& thread_;
  std::vector<uint32_t> now_;
};
// While one lives, accesses of instrumented code by this thread are the executor's own.
class InRuntime {
 public:
  InRuntime() : thread_(running_block ? running_block->current() : nullptr) {
    if (thread_) ++thread_->in_runtime;
  }
  ~InRuntime() {
    if (thread_) --thread_->in_runtime;
  }

 private:
  Thread* thread_;
};

#else

inline void check_access(const void*, size_t, Access, const void*, Thread&) {}
inline void check_alignment(const void*, size_t, bool, const void*, Thread&) {}
inline void checked_thread_exits(Thread&) {}
inline void mark_initialised(const void*, size_t, bool) {}
inline std::shared_ptr<void> make_shadow(size_t) { return nullptr; }
inline void checked_launch_begins() {}
inline void checked_block_begins(Block&) {}
inline std::string checked_block_ends() { return ""; }
inline void fence_reached(Thread&) {}
inline void proxy_fence_reached(Thread&) {}
inline void join_clocks(Thread* const*, size_t) {}
inline void release_clock(std::vector<uint32_t>&, Thread&) {}
inline void acquire_clock(const std::vector<uint32_t>&, Thread&) {}
inline void merge_clock(std::vector<uint32_t>&, const std::vector<uint32_t>&) {}
struct Copy {};
inline Copy begin_copy(uint32_t, const Thread&) { return {}; }
inline void release_copy(std::vector<uint32_t>&, const Copy&) {}
struct AsIssued {
  AsIssued(Thread&, const std::vector<uint32_t>&, const Copy& = {}) {}
};
struct InRuntime {};

#endif

}  // namespace simt
