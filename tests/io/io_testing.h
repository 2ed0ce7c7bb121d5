// SPDX-License-Identifier: Apache-2.0
// For the tests of io: a path of one's own, and the sentence of an error.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "io/files.h"
#include "tensor/error.h"

namespace metvox {

// A fresh folder, removed at the end of the test.
class Scratch {
 public:
  Scratch() {
    std::string name = testing::TempDir() + "metvox-io-XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~Scratch() { std::filesystem::remove_all(folder_); }
  Path operator/(const std::string& name) const { return folder_ / name; }
  const Path& folder() const { return folder_; }
  size_t files() const {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator()));
  }

 private:
  Path folder_;
};

// What f() throws as Fault::input, or "" when it does not.
template <class F>
std::string refusal(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::input) << error.what();
    return error.what();
  }
  return "";
}

// Is `part` in the refusal of f()?
template <class F>
testing::AssertionResult refused(F&& f, const std::string& part) {
  const std::string text = refusal(f);
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "expected a refusal with \"" << part << "\", got \"" << text << '"';
}

}  // namespace metvox
