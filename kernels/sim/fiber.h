// SPDX-License-Identifier: Apache-2.0
// Contexts that switch to one another on one operating-system thread: hand-made on x86-64 (about 5 ns), ucontext
// elsewhere (about 200 ns, mostly the signal mask).
#pragma once
#include <cstddef>

namespace simt {

class Fiber {
 public:
  Fiber() = default;  // the calling OS thread's own context
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  // The next switch to this fiber calls entry on the stack [low, high). entry begins with arrived(home) and never
  // returns.
  void start(char* low, char* high, void (*entry)());
  // Tells ASan of the first arrival; home is where the first switch came from.
  void arrived(Fiber& home);
  static void swap(Fiber& from, Fiber& to);

  bool on_stack(const void* p) const { return p >= low_ && p < high_; }

 private:
  void* context_ = nullptr;  // a stack pointer, or a ucontext_t
  const char *low_ = nullptr, *high_ = nullptr;
  [[maybe_unused]] void* asan_fake_stack_ = nullptr;
};

}  // namespace simt
