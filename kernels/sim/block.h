// SPDX-License-Identifier: Apache-2.0
// Inside the executor: the block that an operating-system thread runs now, its threads as fibers, and how they wait.
#pragma once
#include <bit>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/sim/fiber.h"
#include "kernels/sim/simt.h"

namespace simt {

struct HopperState;  // mbarriers and warpgroup products (hopper_state.h)

struct AsyncCopy {
  char* to;
  const char* from;
  bool ok, done;
  const void* pc;  // of the instruction, for reports
};

enum class State : uint8_t { ready, waiting, exited };

struct Thread {
  ThreadView* view = nullptr;  // at the top of the fiber's own stack
  Fiber fiber;
  unsigned linear = 0, warp = 0;
  State state = State::ready;
  Site site;  // where it waits, and for what
  const char* waits_for = "";
  int in_runtime = 0;  // checked build: its accesses are the executor's own
  const char *stack_low = nullptr, *stack_high = nullptr;
  std::vector<AsyncCopy> copies;  // cp.async, oldest first; the last open_copies are in no group yet
  std::vector<size_t> copy_groups;
  size_t open_copies = 0;

  unsigned lane() const { return linear % 32; }
};

// Threads that may run, in the order of the schedule.
class ReadyQueue {
 public:
  void reset(size_t capacity) { ring_.assign(std::bit_ceil(capacity), nullptr), head_ = count_ = 0; }
  void push(Thread* t) { ring_[(head_ + count_++) & (ring_.size() - 1)] = t; }
  Thread* pop(std::mt19937_64* seeded);  // null when empty
  bool empty() const { return count_ == 0; }

 private:
  std::vector<Thread*> ring_;
  size_t head_ = 0, count_ = 0;
};

struct Barrier {
  int arrived = 0, threads = 0;
  int trues = 0, last_trues = 0, last_arrived = 0;  // of barrier_reduce: so far, and when it last opened
  Site site;
  std::vector<Thread*> waiting;
};

struct Collective {
  Collective(uint32_t lanes, Combine how, Site at, const char* name)
      : mask(lanes), combine(how), site(at), what(name) {}

  uint32_t mask, arrived = 0;
  Combine combine;
  Site site;
  const char* what;
  void* args[32];  // of the lanes that arrived; the others' are not read
};
struct Warp {
  uint32_t alive = 0;
  std::vector<Collective> pending;
};

struct SharedVariable {
  const void* key;
  uint32_t offset, bytes;
  std::string name;
};

size_t shared_limit(int arch);  // bytes a block may have

class Block {
 public:
  // Of shared memory: the dynamic part first, then the static variables with red zones around them.
  static constexpr uint32_t kArenaBytes = 320 << 10;
  static constexpr uint32_t kDynamicOffset = 1024, kRedZone = 64;

  Block();
  ~Block();
  static Block& of_this_os_thread();

  void prepare(const Launch& what);
  void run(uint64_t index);

  // Waiting and waking. current() is null on the worker's own stack.
  Thread* current() const { return current_; }
  void wait(Site at, const char* what);
  void wake(Thread* const* threads, size_t n);
  void give_way(Site at);  // lets others run first where the schedule is not forward
  bool toss() { return (random_() & 1) != 0; }
  // Work of an asynchronous engine, asked for by the running thread at pc. The block may not end before it is done.
  void add_job(std::function<void()> work, const void* pc);
  [[noreturn]] void fail(const std::string& what);  // with kernel, block and thread
  [[noreturn]] void fail_as_told(const std::string& report);

  void finish_barrier(Barrier& barrier, Thread* last);

  // Shared memory.
  bool in_stacks(const void* p) const { return p >= stacks_ && p < stacks_ + stacks_mapped_; }
  bool in_arena(const void* p) const { return p >= arena_ && p < arena_ + kArenaBytes; }
  uint32_t offset_of(const void* p) const { return static_cast<uint32_t>(static_cast<const char*>(p) - arena_); }
  char* arena() { return arena_; }
  void* shared_dynamic(size_t alignment, const char* variable);
  void* shared_static(const void* key, size_t bytes, size_t alignment, const char* variable);
  const SharedVariable* variable_at(uint32_t offset, size_t bytes) const;
  const SharedVariable* nearest_variable(uint32_t offset) const;

  // Names for reports.
  std::string with_kernel(const std::string& report) const;
  std::string name(const Thread& t) const;
  std::string name_of_thread(unsigned linear) const;

  const Launch* launch = nullptr;
  Options how;             // options(), as they were when the launch began
  const char* range = "";  // whose work it is
  uint64_t index = 0;      // of this block in the grid
  size_t runs = 0;         // blocks run so far by this worker
  uint3 block_index{};
  std::vector<std::unique_ptr<Thread>> threads;
  size_t count = 0, alive = 0;
  std::vector<Warp> warps;
  Barrier barriers[16];
  std::vector<SharedVariable> variables;
  std::shared_ptr<HopperState> hopper;

 private:
  static void fiber_main();
  void exit(Thread& t);
  void check_nothing_under_way(const Thread& t);  // which exits
  void dispatch(Thread* from);  // which has blocked or exited (null: the worker's own stack): run another
  void* place(SharedVariable variable);
  void set_threads(size_t n);
  void reset(uint64_t index);
  void check_red_zones();
  std::string deadlock() const;

  char* arena_ = nullptr;
  char* stacks_ = nullptr;
  size_t stacks_mapped_ = 0;
  uint32_t arena_top_ = 0;
  size_t static_bytes_ = 0;
  Fiber home_;
  Thread* current_ = nullptr;
  ReadyQueue ready_;
  struct Job {
    std::function<void()> work;
    const Thread* by;
    const void* pc;
  };
  std::vector<Job> jobs_;
  std::mt19937_64 random_;
  std::string error_;
};

const void* product_under_way(const Thread& t);  // the first of its warpgroup, where it was issued; or null

// Of this OS thread, while it runs a launch.
extern thread_local constinit Block* running_block;

}  // namespace simt
