// SPDX-License-Identifier: Apache-2.0
// JSON in files: nlohmann::ordered_json, with errors that name the file. Numbers round-trip; NaN and infinity are
// written as null. A key given twice, and nesting deeper than 256, are refused.
#pragma once
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>
#include <type_traits>
#include <utility>

#include "io/files.h"
#include "tensor/error.h"

namespace metvox {

using Json = nlohmann::ordered_json;

// Throw Error (Fault::input): path, line, column and what was expected.
Json read_json(const Path& path);
Json parse_json(std::string_view text, const Path& named);
void write_json(const Path& path, const Json& value, int indent = 2);
// The text that write_json() writes; indent -1 gives one line.
std::string json_text(const Json& value, int indent = 2);

[[noreturn]] void fail_json_kind(const Json& value, const std::string& key, const std::string& expected,
                                 const Path& where);

// value[key] as T; throws Error (Fault::input) that names `where` (a path), the key and the expected kind. Nothing is
// converted in silence: a fraction or an integer out of T's range is not an integer, true is not a number.
template <class T>
T get(const Json& value, const std::string& key, const Path& where) {
  if (!value.is_object() || !value.contains(key))
    fail(Fault::input, where.string(), ": the key \"", key, "\" is missing");
  const Json& found = value.at(key);
  if constexpr (std::is_same_v<T, bool>) {
    if (!found.is_boolean()) fail_json_kind(found, key, "true or false", where);
  } else if constexpr (std::is_integral_v<T>) {
    const bool fits = found.is_number_unsigned() ? std::in_range<T>(found.get<uint64_t>())
                                                 : found.is_number_integer() && std::in_range<T>(found.get<int64_t>());
    if (!fits)
      fail_json_kind(
          found, key,
          sentence("an integer from ", +std::numeric_limits<T>::min(), " to ", +std::numeric_limits<T>::max()), where);
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!found.is_number()) fail_json_kind(found, key, "a number", where);
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!found.is_string()) fail_json_kind(found, key, "a string", where);
  }
  try {
    return found.get<T>();
  } catch (const nlohmann::json::exception&) {
    fail_json_kind(found, key, "another kind", where);
  }
}

}  // namespace metvox
