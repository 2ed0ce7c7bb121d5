// SPDX-License-Identifier: Apache-2.0
// Which engines there are: the names in the tables of all ops.
#pragma once
#include <string>
#include <vector>

#include "tensor/device.h"

namespace metvox {

// Every engine that some op has on such a device, each once.
std::vector<std::string> engines_of(Device::Kind kind);

}  // namespace metvox
