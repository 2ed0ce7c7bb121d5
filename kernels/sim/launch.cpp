// SPDX-License-Identifier: Apache-2.0
// Options, and a grid's blocks on the threads of the operating system.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "kernels/sim/block.h"
#include "kernels/sim/capture.h"
#include "kernels/sim/check.h"
#include "kernels/sim/report.h"
#include "tensor/error.h"

namespace simt {
namespace {

std::string environment(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value && *value ? value : otherwise;
}

int whole(const char* name, int otherwise) {
  const std::string text = environment(name, std::to_string(otherwise));
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (*end || value < 0 || value > 1 << 20)
    metvox::fail(metvox::Fault::usage, name, "=", text, " is not a whole number");
  return static_cast<int>(value);
}

// The index of the variable's value among the three that it may have.
int choice(const char* name, const char* first, const char* second) {
  const std::string value = environment(name, first);
  if (value == first) return 0;
  if (value == second) return 1;
  if (value == "seeded") return 2;
  metvox::fail(metvox::Fault::usage, name, "=", value, ": expected ", first, ", ", second, " or seeded");
}

Options options_of_environment() {
  Options o;
  o.threads = whole("METVOX_SIM_THREADS", static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  o.schedule = static_cast<Schedule>(choice("METVOX_SIM_SCHEDULE", "forward", "reverse"));
  o.async = static_cast<Async>(choice("METVOX_SIM_ASYNC", "late", "eager"));
  o.seed = static_cast<uint64_t>(whole("METVOX_SIM_SEED", 1));
  o.arch = whole("METVOX_SIM_ARCH", 900);
  o.strict_exit = whole("METVOX_SIM_STRICT_EXIT", 0) != 0;
  return o;
}

// CUDA's limits, which are those of every architecture but for shared memory.
void check_limits(const Launch& l) {
  const dim3 g = l.grid, b = l.block;
  const uint64_t threads = uint64_t{b.x} * b.y * b.z;
  const auto refuse = [&](const auto&... why) {
    metvox::fail(metvox::Fault::internal, "launch of ", function_at(l.kernel), ": ", why..., "; grid (", g.x, ",", g.y,
                 ",", g.z, "), block (", b.x, ",", b.y, ",", b.z, "), ", l.shared_bytes,
                 " bytes of dynamic shared memory");
  };
  if (threads == 0 || threads > 1024 || b.z > 64) refuse("a block has 1 to 1024 threads, at most 64 of them in z");
  if (g.x == 0 || g.y == 0 || g.z == 0) refuse("the grid is empty");
  if (g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535) refuse("the grid is at most 2147483647 x 65535 x 65535");
  if (l.shared_bytes > shared_limit(options().arch))
    refuse("shared memory above the ", shared_limit(options().arch), " bytes of sm_", options().arch / 10);
}

void run(const Launch& what, const char* range) {
  // The checker's shadow of device memory is one for the process.
  static std::mutex one_at_a_time;
  std::unique_lock lock(one_at_a_time, std::defer_lock);
  if (kChecked) lock.lock();
  checked_launch_begins();
  const uint64_t blocks = uint64_t{what.grid.x} * what.grid.y * what.grid.z;
  const int threads =
      kChecked ? 1
               : static_cast<int>(std::min<uint64_t>(blocks, static_cast<uint64_t>(std::max(1, options().threads))));
  const bool backwards = options().schedule == Schedule::reverse;
  std::atomic<uint64_t> next{0};
  std::exception_ptr error;
  const auto work = [&] {
    try {
      Block& b = Block::of_this_os_thread();
      b.prepare(what);
      b.range = range;
      for (uint64_t i; (i = next++) < blocks;) b.run(backwards ? blocks - 1 - i : i);
    } catch (...) {
      next = blocks;
#pragma omp critical(metvox_simt_launch)
      if (!error) error = std::current_exception();
    }
  };
#pragma omp parallel num_threads(threads) if (threads > 1)
  work();
  if (error) std::rethrow_exception(error);
}

}  // namespace

Options& options() {
  static Options all = options_of_environment();
  return all;
}

size_t shared_limit(int arch) {
  if (arch < 800) return 64 << 10;
  if (arch == 860 || arch == 890 || arch >= 1200) return 99 << 10;
  return arch < 900 ? 163 << 10 : 227 << 10;
}

void launch(const Launch& what) {
  check_limits(what);
  if (!is_recording()) return run(what, range());
  constexpr size_t kAlign = 64;  // enough for a tensor map
  const size_t room = (what.args_bytes + kAlign - 1) / kAlign * kAlign;
  const std::shared_ptr<void> args(std::aligned_alloc(kAlign, room), std::free);
  std::memcpy(args.get(), what.args, what.args_bytes);
  give([what, args, name = range()] {
    Launch again = what;
    again.args = args.get();
    run(again, name);
  });
}

}  // namespace simt
