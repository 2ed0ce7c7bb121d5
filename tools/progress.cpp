// SPDX-License-Identifier: Apache-2.0
#include "tools/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <mutex>

#include "tensor/error.h"

namespace metvox {

using Clock = std::chrono::steady_clock;

struct Progress::State {
  std::string label, unit;
  bool quiet, terminal;
  std::mutex mutex;
  Clock::time_point start = Clock::now(), shown{};
  int64_t first = -1, last_done = -1;  // first: what was done already at the first call
  bool bar_on_line = false;
};

std::string duration_text(double seconds) {
  const auto s = static_cast<int64_t>(std::llround(std::max(0.0, seconds)));
  char text[48];
  if (s >= 3600)
    std::snprintf(text, sizeof text, "%lld h %02lld min", (long long)(s / 3600), (long long)(s % 3600 / 60));
  else if (s >= 60) std::snprintf(text, sizeof text, "%lld min %02lld s", (long long)(s / 60), (long long)(s % 60));
  else std::snprintf(text, sizeof text, "%lld s", (long long)s);
  return text;
}

size_t terminal_columns(int descriptor) {
  winsize size{};
  return ioctl(descriptor, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

namespace {

// One line of the terminal at most: what goes beyond it is never wiped away.
std::string bar_line(const std::string& label, double share, const std::string& tail, size_t columns) {
  constexpr size_t kWidest = 30, kNarrowest = 5;
  const size_t most = columns == 0 ? SIZE_MAX : columns - 1, text = label.size() + tail.size() + 4;
  const size_t width = std::min(kWidest, most - std::min(most, text));
  if (width >= kNarrowest) {
    const auto filled = static_cast<size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(width));
    return label + " [" + std::string(filled, '=') + std::string(width - filled, ' ') + "] " + tail;
  }
  std::string line = label + " " + tail;
  size_t end = std::min(line.size(), most);
  const auto inside = [&] { return end < line.size() && (static_cast<unsigned char>(line[end]) & 0xC0) == 0x80; };
  while (end > 0 && inside()) --end;  // no letter of UTF-8 is cut
  return line.substr(0, end);
}

}  // namespace

Progress::Progress(std::string label, std::string unit, bool quiet) : state_(std::make_unique<State>()) {
  state_->label = std::move(label);
  state_->unit = std::move(unit);
  state_->quiet = quiet;
  state_->terminal = isatty(STDERR_FILENO) == 1;
}

Progress::~Progress() {
  if (state_->bar_on_line) std::fputc('\n', stderr);
}

void Progress::update(int64_t done, int64_t total, const std::string& note) {
  State& s = *state_;
  const std::lock_guard lock(s.mutex);
  const auto now = Clock::now();
  if (s.first < 0) s.first = done;
  const bool ended = done >= total && s.last_done != done;
  const auto wait = s.terminal ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5000);
  if (s.quiet || (!ended && now - std::max(s.shown, s.terminal ? Clock::time_point{} : s.start) < wait)) return;
  s.shown = now;
  s.last_done = done;
  const double passed_s = std::chrono::duration<double>(now - s.start).count();
  const bool known = done > s.first && done < total;
  const std::string time = ended   ? duration_text(passed_s)
                           : known ? duration_text(passed_s / double(done - s.first) * double(total - done)) + " left"
                                   : "";
  const std::string count = s.unit == "%" ? sentence(done, " %") : sentence(done, '/', total, ' ', s.unit);
  const std::string tail = sentence(count, time.empty() ? "" : ", ", time, note.empty() ? "" : ", ", note);
  if (!s.terminal) {
    std::fprintf(stderr, "%s: %s\n", s.label.c_str(), tail.c_str());
    return;
  }
  const double share = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 0;
  std::fprintf(stderr, "\r\033[K%s", bar_line(s.label, share, tail, terminal_columns(STDERR_FILENO)).c_str());
  s.bar_on_line = true;
  std::fflush(stderr);
}

std::function<void(int64_t, int64_t)> Progress::callback() {
  return [this](int64_t done, int64_t total) { update(done, total); };
}

void Progress::line(const std::string& text) {
  const std::lock_guard lock(state_->mutex);
  std::fprintf(stderr, "%s%s\n", state_->bar_on_line ? "\r\033[K" : "", text.c_str());
  state_->bar_on_line = false;
}

}  // namespace metvox
