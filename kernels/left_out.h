// SPDX-License-Identifier: Apache-2.0
// In the place of an engine whose library had no headers when metvox was built: it takes no problem, and says why.
#pragma once
#include "kernels/engine.h"

namespace metvox {

template <class Problem, class Kernel>
Engine<Problem, Kernel> left_out(std::string_view name) {
  return {name, Device::Kind::cuda,
          [](const Problem&) -> std::optional<std::string> { return "this metvox was built without that library"; },
          nullptr};
}

}  // namespace metvox
