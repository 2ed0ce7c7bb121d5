// SPDX-License-Identifier: Apache-2.0
// Progress on stderr: a bar with the time left on a terminal, else a line every few seconds. Safe to call from any
// thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace metvox {

// "1 h 05 min", "3 min 20 s", "12 s".
std::string duration_text(double seconds);

// How many characters a line of the terminal behind this file descriptor has; 0 where there is no terminal.
size_t terminal_columns(int descriptor);

class Progress {
 public:
  // label: what is being done, such as "phantom"; unit: what is counted, such as "cases"; "%" of 100.
  Progress(std::string label, std::string unit, bool quiet);
  ~Progress();  // ends the bar's line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `note` stands after the numbers, such as "loss -0.61".
  void update(int64_t done, int64_t total, const std::string& note = "");
  // What the library's functions take; valid while this lives.
  std::function<void(int64_t done, int64_t total)> callback();
  // A line of its own, above the bar; shown when quiet as well.
  void line(const std::string& text);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace metvox
