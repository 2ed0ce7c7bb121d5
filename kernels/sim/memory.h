// SPDX-License-Identifier: Apache-2.0
// Memory of the sim device: each allocation on its own (a pool would hide what is out of bounds), with a name for
// reports, guard bytes around it, and poison inside (0xFF: NaN in every float type).
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace simt {

void* device_allocate(size_t bytes, const std::string& name);
void device_free(void* p);
// How much there is in all (no limit at first), and how much of it is taken: for tests of a device that is full.
void limit_device_memory(size_t bytes);
size_t device_memory_taken();
// Either end may be host memory; ranges of device memory are checked against its allocation.
void device_copy(void* to, const void* from, size_t bytes);
void device_fill(void* to, unsigned char value, size_t bytes);
// Says what the memory is used for next; contents become poison. For an arena whose places are reused.
void device_rename(void* p, const std::string& name);

// The allocation that p is in, or the nearest one within its guard bytes.
struct Allocation {
  char* begin;
  size_t bytes;
  std::string name;
  std::shared_ptr<void> shadow = nullptr;  // of the checked build
  bool holds(const void* p, size_t n) const {
    const char* c = static_cast<const char*>(p);
    return c >= begin && c + n <= begin + bytes;
  }
};
const Allocation* find_allocation(const void* p);
uint64_t allocation_changes();  // so far; what find_allocation gave stays true while it stands still

}  // namespace simt
