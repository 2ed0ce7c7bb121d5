// SPDX-License-Identifier: Apache-2.0
// Words of commands that people copy into a shell.
#pragma once
#include <string>

namespace metvox {

// The word as a shell takes it: in quotes where it holds spaces or anything else that a shell would read.
std::string shell_quoted(const std::string& word);

}  // namespace metvox
