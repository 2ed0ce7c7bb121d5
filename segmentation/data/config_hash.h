// SPDX-License-Identifier: Apache-2.0
// The short name of a resolved configuration: equal configurations, equal hash. It stands in every output beside what
// made it.
#pragma once
#include <cstdio>

#include "io/json.h"

namespace metvox {

// How a configuration spells what was left to the program, such as the engine.
inline std::string or_auto(const std::string& name) { return name.empty() ? "auto" : name; }

// 16 hexadecimal digits of the JSON's compact text (FNV-1a), whatever the order of its keys.
inline std::string config_hash(const Json& config) {
  uint64_t hash = 0xcbf29ce484222325u;
  using Sorted = nlohmann::json;
  for (unsigned char c : Sorted(config).dump(-1, ' ', false, Sorted::error_handler_t::replace))
    hash = (hash ^ c) * 0x100000001b3u;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

}  // namespace metvox
