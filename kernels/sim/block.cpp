// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/block.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <new>

#include "kernels/sim/check.h"
#include "kernels/sim/poison.h"
#include "kernels/sim/report.h"
#include "tensor/error.h"

namespace simt {
namespace {

#if defined(SIMT_CHECK) || defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 256 << 10;
#else
constexpr size_t kStackBytes = 64 << 10;
#endif
constexpr size_t kPage = 4096;

char* map_memory(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) metvox::fail(metvox::Fault::memory, "sim: no memory for ", bytes, " bytes of stacks");
  unpoison(p, bytes);  // whatever lay there before
  return static_cast<char*>(p);
}

}  // namespace

thread_local constinit Block* running_block = nullptr;

Thread* ReadyQueue::pop(std::mt19937_64* seeded) {
  if (empty()) return nullptr;
  const size_t last = ring_.size() - 1;  // a power of two, less one
  if (seeded) std::swap(ring_[head_], ring_[(head_ + (*seeded)() % count_) & last]);
  Thread* t = ring_[head_];
  head_ = (head_ + 1) & last;
  --count_;
  return t;
}

Block::Block() : arena_(map_memory(kArenaBytes)) {}

Block::~Block() {
  munmap(arena_, kArenaBytes);
  if (stacks_) munmap(stacks_, stacks_mapped_);
}

Block& Block::of_this_os_thread() {
  static thread_local Block block;
  running_block = &block;
  return block;
}

ThreadView& self() { return *running_block->current()->view; }

void fail(const std::string& what) { running_block->fail(what); }

// One slab of stacks with a guard page below each. Each view lies at the top of its thread's stack; tops differ by some
// cache lines, or all of them would fall into the same cache set.
void Block::set_threads(size_t n) {
  if (threads.size() < n) {
    threads.clear();
    if (stacks_) munmap(stacks_, stacks_mapped_);
    stacks_mapped_ = n * kStackBytes;
    stacks_ = map_memory(stacks_mapped_);
    for (size_t i = 0; i < n; ++i) {
      char* low = stacks_ + i * kStackBytes;
      mprotect(low, kPage, PROT_NONE);
      auto t = std::make_unique<Thread>();
      char* top = low + kStackBytes - sizeof(ThreadView) - i % 29 * 128;
      top -= reinterpret_cast<uintptr_t>(top) % 64;
      t->view = new (top) ThreadView{};
      t->linear = static_cast<unsigned>(i), t->warp = t->linear / 32;
      t->view->lane = t->linear % 32;
      t->stack_low = low, t->stack_high = low + kStackBytes;
      t->fiber.start(low + kPage, top, fiber_main);
      threads.push_back(std::move(t));
    }
  }
  count = n;
  warps.resize((n + 31) / 32);
  ready_.reset(n);
}

void Block::prepare(const Launch& what) {
  launch = &what;
  how = options();
  random_.seed(how.seed);
  const dim3 b = what.block;
  set_threads(size_t{b.x} * b.y * b.z);
  for (size_t i = 0; i < count; ++i) {
    ThreadView& v = *threads[i]->view;
    const unsigned l = threads[i]->linear;
    v.thread_index = {l % b.x, l / b.x % b.y, l / b.x / b.y};
    v.block_dim = b, v.grid_dim = what.grid;
  }
}

void Block::reset(uint64_t i) {
  index = i;
  ++runs;
  const dim3 g = launch->grid;
  block_index = {static_cast<unsigned>(i % g.x), static_cast<unsigned>(i / g.x % g.y),
                 static_cast<unsigned>(i / g.x / g.y)};
  alive = count;
  ready_.reset(count);
  jobs_.clear();
  variables.clear();
  error_.clear();
  hopper = nullptr;
  arena_top_ = kDynamicOffset + static_cast<uint32_t>(launch->shared_bytes) + kRedZone;
  static_bytes_ = 0;
  poison(arena_, kArenaBytes);
  for (Warp& w : warps) w.alive = 0, w.pending.clear();
  for (Barrier& b : barriers) b = Barrier{};
  for (size_t k = 0; k < count; ++k) {
    Thread& t = *threads[k];
    t.state = State::ready;
    t.copies.clear(), t.copy_groups.clear(), t.open_copies = 0;
    t.view->block_index = block_index;
    warps[t.warp].alive |= 1u << t.lane();
  }
  checked_block_begins(*this);
}

void Block::run(uint64_t i) {
  reset(i);
  std::vector<Thread*> all(count);
  for (size_t k = 0; k < count; ++k) all[k] = threads[k].get();
  wake(all.data(), count);
  dispatch(nullptr);
  if (error_.empty()) error_ = checked_block_ends();
  if (error_.empty()) check_red_zones();
  if (error_.empty()) return;
  threads.clear();  // their fibers were abandoned half-way
  throw metvox::Error(metvox::Fault::internal, error_);
}

void Block::fiber_main() {
  Block& b = *running_block;
  b.current_->fiber.arrived(b.home_);
  for (;;) {
    Thread& t = *b.current_;
    std::string thrown;
    t.in_runtime = 0;
    try {
      b.launch->run(b.launch->args);
    } catch (const std::exception& e) {
      thrown = e.what();
    }
    t.in_runtime = 1;
    if (!thrown.empty()) b.fail(thrown);
    b.exit(t);
  }
}

void Block::check_nothing_under_way(const Thread& t) {
  if (!t.copies.empty()) {
    const AsyncCopy& first = t.copies.front();
    const uint32_t offset = offset_of(first.to);
    const SharedVariable* v = variable_at(offset, 1);
    fail(metvox::sentence("exited with cp.async copies that it never waited for, the first to shared `",
                          v ? v->name : "?", "` + ", v ? offset - v->offset : offset, " bytes at ",
                          source_of(first.pc)));
  }
  if (const void* pc = product_under_way(t))
    fail(metvox::sentence("exited with wgmma products that it never waited for, the first of ", source_of(pc)));
  if (alive == 1 && !jobs_.empty())
    fail_as_told(metvox::sentence("the block ended with TMA loads that nobody waited for\n  ", name(*jobs_.front().by),
                                  " issued the first at ", source_of(jobs_.front().pc)));
}

void Block::exit(Thread& t) {
  checked_thread_exits(t);
  check_nothing_under_way(t);
  t.state = State::exited;
  warps[t.warp].alive &= ~(1u << t.lane());
  --alive;
  Barrier& b = barriers[0];
  if (b.arrived && how.strict_exit)
    fail(metvox::sentence("exited while others wait at the barrier at ", describe(b.site)));
  if (b.arrived && !b.threads && static_cast<size_t>(b.arrived) == alive) finish_barrier(b, nullptr);
  dispatch(&t);
}

void Block::dispatch(Thread* from) {
  std::mt19937_64* seeded = how.schedule == Schedule::seeded ? &random_ : nullptr;
  Thread* next = ready_.pop(seeded);
  for (; !next && !jobs_.empty(); next = ready_.pop(seeded)) {  // as late as legal: nobody else can run
    if (how.async == Async::seeded) std::swap(jobs_[random_() % jobs_.size()], jobs_.back());
    const auto job = std::move(jobs_.back());  // nothing orders them: last issued, first done
    jobs_.pop_back();
    job.work();
  }
  if (!next && alive) error_ = deadlock();
  if (next == from) return;
  current_ = next;
  Fiber::swap(from ? from->fiber : home_, next ? next->fiber : home_);
}

void Block::wait(Site at, const char* what) {
  Thread& t = *current_;
  t.state = State::waiting, t.site = at, t.waits_for = what;
  dispatch(&t);
  t.state = State::ready;
}

void Block::wake(Thread* const* woken, size_t n) {
  const bool reverse = how.schedule == Schedule::reverse;
  for (size_t i = 0; i < n; ++i) {
    Thread* t = woken[reverse ? n - 1 - i : i];
    t->state = State::ready;
    ready_.push(t);
  }
}

void Block::give_way(Site at) {
  if (how.schedule == Schedule::forward) return;
  ready_.push(current_);
  wait(at, "its turn");
}

void Block::add_job(std::function<void()> work, const void* pc) {
  const Async mode = how.async;
  if (mode == Async::eager || (mode == Async::seeded && toss())) work();
  else jobs_.push_back({std::move(work), current_, pc});
}

void Block::fail(const std::string& what) {
  [[maybe_unused]] InRuntime guard;
  if (!current_) throw metvox::Error(metvox::Fault::internal, what);
  fail_as_told(metvox::sentence(what, "\n  ", name(*current_)));
}

// Leaves every fiber of the block where it is, for good.
void Block::fail_as_told(const std::string& report) {
  if (error_.empty()) error_ = with_kernel(report);
  Thread* const from = current_;
  if (!from) throw metvox::Error(metvox::Fault::internal, error_);
  current_ = nullptr;
  Fiber::swap(from->fiber, home_);
  __builtin_unreachable();
}

std::string Block::deadlock() const {
  struct Group {
    size_t size = 0;
    const Thread* first = nullptr;
  };
  std::map<std::string, Group> groups;
  for (size_t i = 0; i < count; ++i) {
    const Thread& t = *threads[i];
    Group& g = groups[t.state == State::exited ? "exited"
                                               : metvox::sentence("wait for ", t.waits_for, " at ", describe(t.site))];
    if (!g.size++) g.first = &t;
  }
  std::string report = "deadlock: no thread can run";
  for (const auto& [what, group] : groups)
    report += metvox::sentence("\n  ", group.size, " thread(s) ", what, ", first: ", name(*group.first));
  return with_kernel(report);
}

std::string Block::with_kernel(const std::string& report) const {
  return metvox::sentence(report, "\n  in kernel ", function_at(launch->kernel), ", block (", block_index.x, ",",
                          block_index.y, ",", block_index.z, ")", *range ? ", of " : "", range);
}

std::string Block::name(const Thread& t) const { return name_of_thread(t.linear); }
std::string Block::name_of_thread(unsigned l) const {
  const dim3 b = launch->block;
  return metvox::sentence("thread (", l % b.x, ",", l / b.x % b.y, ",", l / b.x / b.y, ")");
}

void* Block::shared_dynamic(size_t alignment, const char* variable) {
  for (const auto& v : variables)
    if (!v.key) return arena_ + v.offset;
  // A part that was not declared with 1,024-byte alignment does not get it by chance.
  return place(
      {nullptr, kDynamicOffset + (alignment < 1024 ? 16u : 0u), static_cast<uint32_t>(launch->shared_bytes), variable});
}

void* Block::shared_static(const void* key, size_t bytes, size_t alignment, const char* variable) {
  for (const auto& v : variables)
    if (v.key == key) return arena_ + v.offset;
  const uint32_t a = static_cast<uint32_t>(std::max<size_t>(alignment, 16));
  const uint32_t offset = (arena_top_ + kRedZone + a - 1) / a * a;
  arena_top_ = offset + static_cast<uint32_t>(bytes);
  static_bytes_ += bytes;
  const size_t limit = shared_limit(how.arch);
  if (static_bytes_ > 48 << 10 || static_bytes_ + launch->shared_bytes > limit)
    fail(metvox::sentence("too much shared memory: ", static_bytes_, " bytes static with `", variable,
                          "` (limit 49152), ", launch->shared_bytes, " dynamic, limit of both on sm_", how.arch / 10,
                          " ", limit));
  return place({key, offset, static_cast<uint32_t>(bytes), variable});
}

void* Block::place(SharedVariable variable) {
  char* const p = arena_ + variable.offset;
  unpoison(p - kRedZone, variable.bytes + 2 * kRedZone);
  std::memset(p - kRedZone, 0xFF, variable.bytes + 2 * kRedZone);
  poison(p - kRedZone, kRedZone);
  poison(p + variable.bytes, kRedZone);
  variables.push_back(std::move(variable));
  return p;
}

const SharedVariable* Block::variable_at(uint32_t offset, size_t bytes) const {
  for (const auto& v : variables)
    if (offset >= v.offset && offset + bytes <= v.offset + v.bytes) return &v;
  return nullptr;
}

const SharedVariable* Block::nearest_variable(uint32_t offset) const {
  const SharedVariable* nearest = nullptr;
  uint32_t least = ~0u;
  for (const auto& v : variables) {
    const uint32_t distance = offset < v.offset ? v.offset - offset : offset - std::min(offset, v.offset + v.bytes);
    if (distance < least) least = distance, nearest = &v;
  }
  return nearest;
}

void Block::check_red_zones() {
  unpoison(arena_, kArenaBytes);
  for (const auto& v : variables)
    for (uint32_t k = 0; k < kRedZone; ++k) {
      const bool above = arena_[v.offset + v.bytes + k] != '\xFF', below = arena_[v.offset - 1 - k] != '\xFF';
      if (!above && !below) continue;
      error_ =
          with_kernel(metvox::sentence("out of bounds: something wrote ", k + (above ? 0 : 1), " bytes ",
                                       above ? "after" : "before", " shared `", v.name, "` (", v.bytes, " bytes)"));
      return;
    }
}

}  // namespace simt
