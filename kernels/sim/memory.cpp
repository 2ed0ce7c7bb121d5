// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/memory.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "kernels/sim/check.h"
#include "tensor/error.h"

namespace simt {
namespace {

constexpr size_t kAlignment = 256;
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kGuard = 0;  // ASan has its own
#else
constexpr size_t kGuard = 256;
#endif

struct Registry {
  std::mutex mutex;
  std::map<const char*, Allocation> by_begin;
  std::atomic<uint64_t> changes{0};
  size_t taken = 0, limit = SIZE_MAX;

  // The allocation that begins last at or before p.
  Allocation* before(const void* p) {
    auto it = by_begin.upper_bound(static_cast<const char*>(p));
    return it == by_begin.begin() ? nullptr : &std::prev(it)->second;
  }
};

Registry& registry() {
  static auto* all = new Registry;  // outlives every tensor
  return *all;
}

void require_inside(const void* p, size_t bytes, const char* doing) {
  std::lock_guard lock(registry().mutex);
  const Allocation* a = registry().before(p);
  if (!a || p >= a->begin + a->bytes || a->holds(p, bytes)) return;  // host memory, or well inside
  metvox::fail(metvox::Fault::internal, "sim: ", doing, " of ", bytes, " bytes at offset ",
               static_cast<const char*>(p) - a->begin, " leaves `", a->name, "` (", a->bytes, " bytes)");
}

}  // namespace

void limit_device_memory(size_t bytes) {
  std::lock_guard lock(registry().mutex);
  registry().limit = bytes;
}

size_t device_memory_taken() {
  std::lock_guard lock(registry().mutex);
  return registry().taken;
}

void* device_allocate(size_t bytes, const std::string& name) {
  void* raw = nullptr;
  {
    std::lock_guard lock(registry().mutex);
    if (bytes > registry().limit || registry().taken > registry().limit - bytes)
      metvox::fail(metvox::Fault::memory, "sim: no memory for the ", bytes, " bytes of `", name,
                   "`: ", registry().taken, " of ", registry().limit, " are taken");
  }
  if (posix_memalign(&raw, kAlignment, bytes + 2 * kGuard + 1))
    metvox::fail(metvox::Fault::memory, "sim: no memory for the ", bytes, " bytes of `", name, "`");
  char* begin = static_cast<char*>(raw) + kGuard;
  std::memset(raw, 0xFF, bytes + 2 * kGuard);
  {
    std::lock_guard lock(registry().mutex);
    registry().by_begin[begin] = {begin, bytes, name, make_shadow(bytes)};
    registry().taken += bytes;
    ++registry().changes;
  }
  return begin;
}

void device_free(void* p) {
  if (!p) return;
  {
    std::lock_guard lock(registry().mutex);
    const auto it = registry().by_begin.find(static_cast<char*>(p));
    metvox::check(it != registry().by_begin.end(), "sim: free of a pointer that is no allocation");
    registry().taken -= it->second.bytes;
    registry().by_begin.erase(it);
    ++registry().changes;
  }
  std::free(static_cast<char*>(p) - kGuard);
}

void device_copy(void* to, const void* from, size_t bytes) {
  require_inside(to, bytes, "copy");
  require_inside(from, bytes, "copy");
  std::memmove(to, from, bytes);
  mark_initialised(to, bytes, true);
}

void device_fill(void* to, unsigned char value, size_t bytes) {
  require_inside(to, bytes, "fill");
  std::memset(to, value, bytes);
  mark_initialised(to, bytes, true);
}

void device_rename(void* p, const std::string& name) {
  Allocation* a = nullptr;
  {
    std::lock_guard lock(registry().mutex);
    a = registry().before(p);
    metvox::check(a && a->begin == p, "sim: a name for what is no allocation");
    a->name = name;
  }
  std::memset(a->begin, 0xFF, a->bytes);
  mark_initialised(a->begin, a->bytes, false);
}

uint64_t allocation_changes() { return registry().changes; }

const Allocation* find_allocation(const void* p) {
  std::lock_guard lock(registry().mutex);
  auto& map = registry().by_begin;
  auto it = map.upper_bound(static_cast<const char*>(p));
  const char* c = static_cast<const char*>(p);
  if (it != map.begin()) {
    const Allocation& a = std::prev(it)->second;
    if (c < a.begin + a.bytes + 256) return &a;
  }
  return it != map.end() && c + 256 >= it->second.begin ? &it->second : nullptr;
}

}  // namespace simt
