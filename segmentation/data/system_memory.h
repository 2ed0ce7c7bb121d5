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

// Throws Error (Fault::memory) with both numbers when `what` needs more bytes than there are in all.
void require_memory(const std::string& what, size_t bytes, const SystemMemory& memory);
// A sentence with both numbers when `what` needs more bytes than are available now; else empty.
std::string memory_warning(const std::string& what, size_t bytes, const SystemMemory& memory);

}  // namespace metvox
