// SPDX-License-Identifier: Apache-2.0
// Which engines there are: the names in the tables of all ops.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tensor/device.h"

namespace metvox {

// Every engine that some op has on such a device, each once.
std::vector<std::string> engines_of(Device::Kind kind);

// Engines to compare with, "cudnn-any": they may give other bits in each run, or round more than the type asks. Taken
// by name alone, never chosen.
inline bool is_rival(std::string_view engine) { return engine.ends_with("-any"); }

}  // namespace metvox
