// SPDX-License-Identifier: Apache-2.0
// How much memory, on the command line: 800M, 4G, 1.5G, or bytes.
#pragma once
#include <cstddef>
#include <string>

namespace metvox {

struct ByteSize {
  size_t bytes = 0;
};
// K, M and G are 1024, its square and its cube. Throws Error (Fault::usage) that begins with `where`.
void from_text(const std::string& text, const std::string& where, ByteSize& value);

}  // namespace metvox
