// SPDX-License-Identifier: Apache-2.0
// One bad case among many: what it throws becomes a sentence that names the case, so that the others go on.
#pragma once
#include <new>
#include <optional>
#include <string>

#include "io/files.h"

namespace metvox {

struct CaseFault {
  Fault fault;
  std::string text;   // names the case
  bool stop = false;  // the output takes no more: the cases after it would fail too
};

// "1 case", "2 cases".
inline std::string counted(int64_t n, const std::string& noun) {
  return std::to_string(n) + " " + noun + (n == 1 ? "" : "s");
}

// The sentence with "case ID: " before it, unless it begins so.
inline std::string named_case(const std::string& id, const std::string& text) {
  return text.starts_with("case " + id + ":") || text.starts_with("case " + id + " ") ? text
                                                                                      : "case " + id + ": " + text;
}

// What to do about the cases after one whose file could not be written.
inline std::string not_begun_sentence(int64_t cases, const Path& out) {
  return sentence(counted(cases, "more case"), cases == 1 ? " was" : " were", " not begun; make room in ", out.string(),
                  " and run it again: finished cases are kept");
}

// Runs f() for the case `id`; nothing when that went well. Faults of the program (internal, usage) are thrown on.
template <class F>
std::optional<CaseFault> try_case(const std::string& id, F&& f) {
  try {
    f();
    return {};
  } catch (const WriteError& e) {
    return CaseFault{e.fault(), named_case(id, e.what()), true};
  } catch (const Error& e) {
    if (e.fault() == Fault::internal || e.fault() == Fault::usage) throw;
    return CaseFault{e.fault(), named_case(id, e.what())};
  } catch (const std::bad_alloc&) {
    return CaseFault{Fault::memory, named_case(id, "out of memory")};
  } catch (const std::filesystem::filesystem_error& e) {
    return CaseFault{Fault::input, named_case(id, e.path1().string() + ": " + e.code().message())};
  }
}

}  // namespace metvox
