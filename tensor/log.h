// SPDX-License-Identifier: Apache-2.0
// METVOX_VERBOSE=plan,dispatch: what the library tells about itself, on stderr, a line at a time.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tensor/error.h"

namespace metvox {

inline bool verbose(std::string_view topic) {
  static const std::string topics = [] {
    const char* text = std::getenv("METVOX_VERBOSE");
    return "," + std::string(text ? text : "") + ",";
  }();
  return topics.find("," + std::string(topic) + ",") != std::string::npos;
}

template <class... Parts>
void log(std::string_view topic, const Parts&... parts) {
  if (verbose(topic)) std::fprintf(stderr, "%s\n", sentence(topic, ": ", parts...).c_str());
}

}  // namespace metvox
