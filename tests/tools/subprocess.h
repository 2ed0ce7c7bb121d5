// SPDX-License-Identifier: Apache-2.0
// Runs the program as people do, in a process of its own, and keeps what it said.
#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "io/files.h"
#include "tests/support/fresh_folder.h"

namespace metvox {

struct Outcome {
  int code = -1;  // exit code; 128 + signal when a signal ended it
  std::string out, err;
  size_t peak_bytes = 0;  // of its memory
};

struct Subprocess {
  std::vector<std::string> arguments;
  uint64_t file_limit_bytes = 0;  // RLIMIT_FSIZE; 0: none
  Path out_to = {};               // stdout goes there instead of into Outcome::out
  bool close_err = false;         // stderr is closed, as by 2>&-

  pid_t pid = -1;
  Path folder = {};

  void start() {
    folder = fresh_folder("subprocess");
    pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) become();
  }
  Outcome wait() {
    int status = 0;
    rusage usage{};
    EXPECT_EQ(wait4(pid, &status, 0, &usage), pid);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            out_to.empty() ? read_text(folder / "out") : "", read_text(folder / "err"),
            static_cast<size_t>(usage.ru_maxrss) * 1024};
  }

 private:
  [[noreturn]] void become() {
    const auto redirect = [](const Path& path, int to) {
      dup2(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), to);
    };
    redirect(out_to.empty() ? folder / "out" : out_to, STDOUT_FILENO);
    redirect(folder / "err", STDERR_FILENO);
    if (close_err) close(STDERR_FILENO);
    if (file_limit_bytes > 0) {
      const rlimit limit{file_limit_bytes, file_limit_bytes};
      setrlimit(RLIMIT_FSIZE, &limit);
    }
    std::vector<char*> argv{const_cast<char*>(METVOX_PROGRAM)};
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    execv(METVOX_PROGRAM, argv.data());
    _exit(127);
  }
};

inline Outcome metvox_run(std::vector<std::string> arguments) {
  Subprocess process{std::move(arguments)};
  process.start();
  return process.wait();
}

inline testing::AssertionResult says(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "expected \"" << part << "\" in:\n" << text;
}
inline testing::AssertionResult begins(const std::string& text, const std::string& part) {
  if (text.starts_with(part)) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "expected \"" << part << "\" to begin:\n" << text;
}

inline int count_files(const Path& folder, const std::string& ending) {
  int count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    count += entry.is_regular_file() && entry.path().string().ends_with(ending);
  return count;
}

}  // namespace metvox
