// SPDX-License-Identifier: Apache-2.0
// What kernels do to memory through the executor: shared variables, asynchronous copies, atomics, accesses on a
// thread's behalf.
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/sim/block.h"
#include "kernels/sim/check.h"
#include "kernels/sim/report.h"
#include "tensor/error.h"

namespace simt {
namespace {

// At its issue a copy may happen at once, or as late as its wait: whatever reads or writes there in between is wrong.
void finish(AsyncCopy& c, Thread& t) {
  if (std::exchange(c.done, true)) return;
  check_access(c.to, 16, Access::write, c.pc, t);
  if (c.ok) check_access(c.from, 16, Access::read, c.pc, t);
  if (c.ok) std::memcpy(c.to, c.from, 16);
  else std::memset(c.to, 0, 16);
}

}  // namespace

void* shared_static(const void* key, size_t bytes, size_t alignment, const char* name) {
  [[maybe_unused]] InRuntime guard;
  return running_block->shared_static(key, bytes, alignment, name);
}

void* shared_dynamic(size_t alignment, const char* variable) {
  [[maybe_unused]] InRuntime guard;
  return running_block->shared_dynamic(alignment, variable);
}

uint32_t shared_address(const void* p) {
  Block& b = *running_block;
  if (!b.in_arena(p)) b.fail("an instruction that takes a shared address got a pointer to other memory");
  return b.offset_of(p);
}

void copy_async16(void* to, const void* from, bool ok) {
  [[maybe_unused]] InRuntime guard;
  Block& b = *running_block;
  Thread& t = *b.current();
  AsyncCopy c{static_cast<char*>(to), static_cast<const char*>(from), ok, false, __builtin_return_address(0)};
  const auto bits = reinterpret_cast<uintptr_t>(to) | (ok ? reinterpret_cast<uintptr_t>(from) : 0);
  if (bits % 16) b.fail(metvox::sentence("misaligned access: cp.async of 16 bytes at ", source_of(c.pc)));
  shared_address(to);
  if (ok) check_access(from, 16, Access::read, c.pc, t);
  check_access(to, 16, Access::write, c.pc, t);
  const Async mode = b.how.async;
  if (b.how.arch < 800 || mode == Async::eager || (mode == Async::seeded && b.toss())) {
    finish(c, t);
  } else {
    std::memset(to, 0xFF, 16);
    mark_initialised(to, 16, false);
  }
  if (b.how.arch < 800) return;  // a plain copy there
  t.copies.push_back(c);
  ++t.open_copies;
}

void copy_async_commit() {
  if (running_block->how.arch < 800) return;
  Thread& t = *running_block->current();
  t.copy_groups.push_back(std::exchange(t.open_copies, 0));
}

void copy_async_wait(int groups_left) {
  [[maybe_unused]] InRuntime guard;
  Thread& t = *running_block->current();
  size_t copies = 0, groups = 0;
  for (; t.copy_groups.size() - groups > static_cast<size_t>(groups_left); ++groups) copies += t.copy_groups[groups];
  for (size_t i = 0; i < copies; ++i) finish(t.copies[i], t);
  t.copies.erase(t.copies.begin(), t.copies.begin() + static_cast<std::ptrdiff_t>(copies));
  t.copy_groups.erase(t.copy_groups.begin(), t.copy_groups.begin() + static_cast<std::ptrdiff_t>(groups));
}

uint32_t atomic_load32(const void* p) {
  check_access(p, 4, Access::atomic, __builtin_return_address(0), *running_block->current());
  return __atomic_load_n(static_cast<const uint32_t*>(p), __ATOMIC_RELAXED);
}

uint64_t atomic_load64(const void* p) {
  check_access(p, 8, Access::atomic, __builtin_return_address(0), *running_block->current());
  return __atomic_load_n(static_cast<const uint64_t*>(p), __ATOMIC_RELAXED);
}

bool atomic_replace32(void* p, uint32_t& expected, uint32_t desired) {
  return __atomic_compare_exchange_n(static_cast<uint32_t*>(p), &expected, desired, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_RELAXED);
}

bool atomic_replace64(void* p, uint64_t& expected, uint64_t desired) {
  return __atomic_compare_exchange_n(static_cast<uint64_t*>(p), &expected, desired, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_RELAXED);
}

void thread_fence() {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  fence_reached(*running_block->current());
}

void touch(const void* p, size_t bytes, bool write) {
  check_alignment(p, bytes, write, __builtin_return_address(0), *running_block->current());
  check_access(p, bytes, write ? Access::write : Access::read, __builtin_return_address(0), *running_block->current());
}

}  // namespace simt
