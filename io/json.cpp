// SPDX-License-Identifier: Apache-2.0
#include "io/json.h"

#include <algorithm>
#include <set>

namespace metvox {
namespace {

// "path: line 3, column 7: ..." for a byte of the text; bytes count from 1, as nlohmann's do.
std::string place(std::string_view text, size_t byte, const Path& named) {
  const std::string_view before = text.substr(0, byte > 0 ? byte - 1 : 0);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t start = before.rfind('\n');
  const size_t column = before.size() - (start == std::string_view::npos ? 0 : start + 1) + 1;
  return sentence(named.string(), ": line ", line, ", column ", column);
}

// "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error while ..." from "syntax error" on.
std::string what_of(const Json::parse_error& error) {
  const std::string text = error.what();
  const size_t colon = text.find(": ");
  return colon == std::string::npos ? text : text.substr(colon + 2);
}

}  // namespace

Json parse_json(std::string_view text, const Path& named) {
  constexpr int kDeepest = 256;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    using Event = Json::parse_event_t;
    if (depth > kDeepest) fail(Fault::input, named.string(), ": is nested deeper than ", kDeepest, " levels");
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(value.get<std::string>()).second)
      fail(Fault::input, named.string(), ": the key ", value.dump(), " is given twice in one object");
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::parse_error& error) {
    fail(Fault::input, place(text, error.byte, named), ": ", what_of(error));
  }
}

Json read_json(const Path& path) { return parse_json(read_text(path), path); }

std::string json_text(const Json& value, int indent) {
  // Text that is not UTF-8 (a file name, say) must not keep a report from being written.
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

void write_json(const Path& path, const Json& value, int indent) { write_text(path, json_text(value, indent) + "\n"); }

void fail_json_kind(const Json& value, const std::string& key, const std::string& expected, const Path& where) {
  constexpr size_t kShown = 60;
  std::string text = json_text(value, -1);
  if (text.size() > kShown) text = text.substr(0, kShown) + "...";
  fail(Fault::input, where.string(), ": the key \"", key, "\" holds ", text, ", expected ", expected);
}

}  // namespace metvox
