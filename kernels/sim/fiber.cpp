// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/fiber.h"

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__) || defined(SIMT_UCONTEXT)
#define SIMT_PORTABLE_SWITCH
#include <ucontext.h>
#endif

#if !defined(SIMT_PORTABLE_SWITCH)
// Saves the callee-saved registers on the old stack, leaves its pointer in *save, and takes up the other stack.
extern "C" void metvox_simt_switch(void** save, void* stack);
asm(R"(
.text
.p2align 4
.type metvox_simt_switch, @function
metvox_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size metvox_simt_switch, . - metvox_simt_switch
)");
#endif

namespace simt {

#if defined(SIMT_PORTABLE_SWITCH)

Fiber::~Fiber() { delete static_cast<ucontext_t*>(context_); }

void Fiber::start(char* low, char* high, void (*entry)()) {
  low_ = low, high_ = high;
  if (!context_) context_ = new ucontext_t;
  auto* context = static_cast<ucontext_t*>(context_);
  getcontext(context);
  context->uc_stack.ss_sp = low;
  context->uc_stack.ss_size = static_cast<size_t>(high - low);
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
}

static void swap_contexts(void*& from, void* to) {
  if (!from) from = new ucontext_t;
  swapcontext(static_cast<ucontext_t*>(from), static_cast<ucontext_t*>(to));
}

#else

Fiber::~Fiber() = default;

void Fiber::start(char* low, char* high, void (*entry)()) {
  low_ = low, high_ = high;
  auto* top = reinterpret_cast<uint64_t*>(reinterpret_cast<uintptr_t>(high) & ~uintptr_t{63});
  *--top = 0;  // entry's return address: its stack pointer is 8 below a multiple of 16, as after a call
  *--top = reinterpret_cast<uint64_t>(entry);
  for (int i = 0; i < 6; ++i) *--top = 0;
  context_ = top;
}

static void swap_contexts(void*& from, void* to) { metvox_simt_switch(&from, to); }

#endif

#if defined(__SANITIZE_ADDRESS__)

// A report abandons the fibers of its block, and what they had allocated.
extern "C" const char* __asan_default_options() { return "detect_leaks=0:detect_stack_use_after_return=0"; }

void Fiber::arrived(Fiber& home) {
  const void* low = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(asan_fake_stack_, &low, &bytes);
  if (home.low_) return;
  home.low_ = static_cast<const char*>(low);
  home.high_ = home.low_ + bytes;
}

void Fiber::swap(Fiber& from, Fiber& to) {
  __sanitizer_start_switch_fiber(&from.asan_fake_stack_, to.low_, static_cast<size_t>(to.high_ - to.low_));
  swap_contexts(from.context_, to.context_);
  __sanitizer_finish_switch_fiber(from.asan_fake_stack_, nullptr, nullptr);
}

#else

void Fiber::arrived(Fiber&) {}
void Fiber::swap(Fiber& from, Fiber& to) { swap_contexts(from.context_, to.context_); }

#endif

}  // namespace simt
