// SPDX-License-Identifier: Apache-2.0
// JSON in files: nlohmann::ordered_json, with errors that name the file. Numbers round-trip; NaN is written as null.
#pragma once
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "tensor/error.h"

namespace metvox {

using Json = nlohmann::ordered_json;

// Throws Error (Fault::input): path, line, column and what was expected.
Json read_json(const Path& path);
void write_json(const Path& path, const Json& value, int indent = 2);

// value[key] as T; throws Error (Fault::input) that names `where` (a path), the key and the expected kind.
template <class T>
T get(const Json& value, const std::string& key, const Path& where) {
  if (!value.is_object() || !value.contains(key)) fail(Fault::input, where.string(), ": the key \"", key, "\" is missing");
  try {
    return value.at(key).get<T>();
  } catch (const nlohmann::json::exception&) {
    fail(Fault::input, where.string(), ": the key \"", key, "\" holds ", value.at(key).dump(), ", which is of another kind than expected");
  }
}

}  // namespace metvox
