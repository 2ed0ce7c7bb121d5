// SPDX-License-Identifier: Apache-2.0
// Folders for tests to write to.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace metvox {

// An empty folder of this test's own. It goes when the process ends, unless a test failed: then look into it.
inline std::filesystem::path fresh_folder(const std::string& name) {
  static const struct Root {
    pid_t process = getpid();
    std::filesystem::path path = std::filesystem::path(testing::TempDir()) / ("metvox-" + std::to_string(process));
    ~Root() {
      std::error_code ignored;
      if (getpid() == process && testing::UnitTest::GetInstance()->Passed()) std::filesystem::remove_all(path, ignored);
    }
  } root;
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  const std::filesystem::path folder = root.path / (test ? test->name() : "suite") / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

}  // namespace metvox
