// SPDX-License-Identifier: Apache-2.0
#include "kernels/trial_guard.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "tensor/log.h"

namespace metvox {
namespace {

constexpr size_t kMostBytes = 4096;
std::atomic<int> marked{-1};  // the open file of the living mark

bool lock(int file, const std::string& path) {
  if (flock(file, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno != EWOULDBLOCK) return false;
  std::fprintf(stderr, "waiting for another metvox that tries kernels out (%s)\n", path.c_str());
  int status = -1;
  do status = flock(file, LOCK_EX);
  while (status != 0 && errno == EINTR);
  return status == 0;
}

}  // namespace

TrialMark::TrialMark(const std::string& path) {
  if (path.empty()) return;
  std::error_code no_folder;  // then the file cannot be had either
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), no_folder);
  file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0 || !lock(file_, path)) {
    if (file_ >= 0) close(file_);
    file_ = -1;
    log("dispatch", "tuner: ", path, " cannot be written and locked; what is tried is not marked");
    return;
  }
  left_over_.resize(kMostBytes);
  const ssize_t bytes = pread(file_, left_over_.data(), kMostBytes, 0);
  left_over_.resize(bytes > 0 ? static_cast<size_t>(bytes) : 0);
  marked = file_;
}

TrialMark::~TrialMark() {
  if (file_ < 0) return;
  clear_trial_mark();
  marked = -1;
  close(file_);
}

void TrialMark::set(const std::string& what) {
  if (file_ < 0) return;
  clear_trial_mark();
  if (pwrite(file_, what.data(), what.size(), 0) != static_cast<ssize_t>(what.size())) clear_trial_mark();
}

void clear_trial_mark() noexcept {
  const int file = marked;
  if (file >= 0 && ftruncate(file, 0) != 0) return;  // then the mark stays, which costs one way of computing
}

Watchdog::Watchdog(double seconds, std::function<void()> on_time_out)
    : thread_([this, seconds, act = std::move(on_time_out)](std::stop_token stop) {
        std::unique_lock held(mutex_);
        stopped_.wait_for(held, stop, std::chrono::duration<double>(seconds), [] { return false; });
        if (!stop.stop_requested()) act();
      }) {}

}  // namespace metvox
