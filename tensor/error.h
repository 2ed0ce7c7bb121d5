// SPDX-License-Identifier: Apache-2.0
// The one error type. Its sentence says where, what was expected, what came, and what to do next where that helps.
#pragma once
#include <source_location>
#include <sstream>
#include <stdexcept>
#include <string>

namespace metvox {

// Why a thing failed; the numbers are the program's exit codes.
enum class Fault { internal = 1, usage = 2, input = 3, memory = 4, partial = 5, verification = 6 };

class Error : public std::runtime_error {
 public:
  Error(Fault fault, const std::string& sentence) : std::runtime_error(sentence), fault_(fault) {}
  Fault fault() const { return fault_; }

 private:
  Fault fault_;
};

template <class... Parts>
std::string sentence(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

// Throws an Error about the user's data or command line: the sentence alone, no source line.
template <class... Parts>
[[noreturn]] void fail(Fault fault, const Parts&... parts) {
  throw Error(fault, sentence(parts...));
}

// check(condition, parts...): a contract between our own functions; the sentence ends with the source line.
template <class... Parts>
struct check {
  explicit check(bool ok, const Parts&... parts, std::source_location at = std::source_location::current()) {
    if (ok) return;
    const std::string file = at.file_name();
    throw Error(Fault::internal,
                sentence(parts..., " [", file.substr(file.find_last_of('/') + 1), ':', at.line(), ']'));
  }
};
template <class... Parts>
check(bool, const Parts&...) -> check<Parts...>;

}  // namespace metvox
