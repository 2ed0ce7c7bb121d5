// SPDX-License-Identifier: Apache-2.0
// How much memory there is: the machine's, or less where a control group bounds this process.
#pragma once
#include "io/files.h"

namespace metvox {

struct SystemMemory {
  size_t total = 0, available = 0;  // bytes; 0: not known
};
// `root` holds proc/ and sys/.
SystemMemory system_memory(const Path& root = "/");

// The bytes of this process that are in memory now, and the most so far; 0 where the system does not tell.
struct ResidentBytes {
  size_t now = 0, most = 0;
};
ResidentBytes resident_bytes();
// From now on the system gets back what is freed of large blocks, so that sums of them say what is held.
void give_back_what_is_freed();
// What a process takes beside such sums: stacks of threads, buffers of files, what malloc keeps for itself; of that,
// what is not the same in every run.
constexpr size_t kProcessRoom = size_t{16} << 20, kProcessJitter = size_t{4} << 20;
size_t mebibytes(size_t bytes);  // rounded up

// Throws Error (Fault::memory) with both numbers when `what` needs more bytes than there are in all.
void require_memory(const std::string& what, size_t bytes, const SystemMemory& memory);
// A sentence with both numbers when `what` needs more bytes than are available now; else empty.
std::string memory_warning(const std::string& what, size_t bytes, const SystemMemory& memory);

}  // namespace metvox
