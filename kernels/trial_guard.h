// SPDX-License-Identifier: Apache-2.0
// What keeps a kernel that is tried out (kernels/tuner.h) from taking every later process down as well: its name stands
// in a file while it runs, so that the next process knows it; and one that never comes back ends the process with a
// sentence.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace metvox {

// The file `path` holds what is being tried, and is locked meanwhile: whoever can lock it and finds something in it
// knows that an earlier process ended over that. One process at a time tries with a file, and one mark at a time lives
// in a process. Where the file cannot be had, and with path "", nothing is marked.
class TrialMark {
 public:
  explicit TrialMark(const std::string& path);  // waits for other processes' marks
  ~TrialMark();
  TrialMark(const TrialMark&) = delete;
  TrialMark& operator=(const TrialMark&) = delete;
  const std::string& left_over() const { return left_over_; }
  void set(const std::string& what);

 private:
  int file_ = -1;
  std::string left_over_;
};
// Clears this process's mark, because it is the user who ends it. For a signal's handler.
void clear_trial_mark() noexcept;

// Calls on_time_out in a thread of its own, unless it is destroyed before.
class Watchdog {
 public:
  Watchdog(double seconds, std::function<void()> on_time_out);

 private:
  std::mutex mutex_;
  std::condition_variable_any stopped_;
  std::jthread thread_;  // last: it is stopped and joined before the others go
};

}  // namespace metvox
