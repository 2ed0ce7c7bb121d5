// SPDX-License-Identifier: Apache-2.0
// One bad case among many: what it throws becomes a sentence, so that the others go on.
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

// Runs f() for the case `id`; nothing when that went well. Faults of the program (internal, usage) are thrown on.
template <class F>
std::optional<CaseFault> try_case(const std::string& id, F&& f) {
  const auto named = [&](const std::string& text) {
    return text.find(id) == std::string::npos ? "case " + id + ": " + text : text;
  };
  try {
    f();
    return {};
  } catch (const WriteError& e) {
    return CaseFault{e.fault(), named(e.what()), true};
  } catch (const Error& e) {
    if (e.fault() == Fault::internal || e.fault() == Fault::usage) throw;
    return CaseFault{e.fault(), named(e.what())};
  } catch (const std::bad_alloc&) {
    return CaseFault{Fault::memory, "case " + id + ": out of memory"};
  } catch (const std::filesystem::filesystem_error& e) {
    return CaseFault{Fault::input, named(e.path1().string() + ": " + e.code().message())};
  }
}

}  // namespace metvox
