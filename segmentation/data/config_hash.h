// SPDX-License-Identifier: Apache-2.0
// The short name of a resolved configuration: equal configurations, equal hash. It stands in every output beside what
// made it.
#pragma once
#include <cstdio>
#include <string_view>

#include "io/json.h"

namespace metvox {

// How a configuration spells what was left to the program, such as the engine.
inline std::string or_auto(const std::string& name) { return name.empty() ? "auto" : name; }

// 16 hexadecimal digits of the bytes (FNV-1a).
inline std::string bytes_hash(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

// Of the JSON's compact text, whatever the order of its keys.
inline std::string config_hash(const Json& config) {
  using Sorted = nlohmann::json;
  return bytes_hash(Sorted(config).dump(-1, ' ', false, Sorted::error_handler_t::replace));
}

}  // namespace metvox
