// SPDX-License-Identifier: Apache-2.0
// The checked build's judge of every access. Each byte of shared and device memory has a shadow cell: its last writer,
// two of its readers, whether it was ever written. Each thread has a vector clock, which barriers, __syncwarp,
// mbarriers and fenced atomics advance: an earlier access that the clock does not cover is a race (as in FastTrack,
// Flanagan and Freund 2009). Bulk copies count as actors beside the threads, one for each mbarrier. Blocks run one
// after another here, but count as concurrent.
#include "kernels/sim/check.h"

#if defined(SIMT_CHECK)

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>

#include "kernels/sim/memory.h"
#include "kernels/sim/report.h"
#include "tensor/error.h"

extern "C" const char __executable_start[], _end[];

namespace simt {
namespace {

constexpr uint32_t kMostMBarriers = 256, kMostActors = 1024 + kMostMBarriers;  // threads of a block, then mbarriers

struct Event {
  uint32_t who = 0;  // 0: nobody; else 1 + block * kMostActors + actor
  uint32_t clock = 0;
  uint32_t pc = 0;  // from the start of the program
  bool operator==(const Event&) const = default;
};
struct Cell {
  Event write, reads[2];
  uint32_t epoch = 0;  // the launch (device memory) or the block's run (shared) that the events belong to
  bool initialised = false, atomic = false, async = false;
  bool operator==(const Cell&) const = default;
};

using Clock = std::vector<uint32_t>;  // by actor of a block, as far as it goes: zeros follow
bool covers(const Clock& clock, uint32_t actor, uint32_t at) { return actor < clock.size() && at <= clock[actor]; }

// Another block's past that came to this one through a fence and an atomic.
struct Acquired {
  std::shared_ptr<const Clock> past;
  uint32_t by = 0, at = 0;  // known to those who know thread `by` at clock `at`
};

// Of the block that runs now, and of the launch.
struct Checker {
  uint32_t launch = 0, block_run = 0, counter = 0, block = 0;
  std::vector<Clock> clocks;                         // by thread
  std::vector<std::shared_ptr<const Clock>> fences;  // what each thread's last __threadfence covered
  std::vector<Clock> proxy_fences;                   // and its last fence.proxy.async
  std::map<uint32_t, Acquired> acquired;             // by block
  std::map<const void*, std::map<uint32_t, std::shared_ptr<const Clock>>> released;  // at atomics, by block
  std::vector<std::vector<uint32_t>> copies;  // by mbarrier: which threads issued them
  Copy copy;                                  // in whose name accesses happen now; serial 0: in a thread's
  std::vector<Cell> arena = std::vector<Cell>(Block::kArenaBytes);
  std::vector<std::optional<std::string>> left_indices;  // by thread
  // The first read of what nobody had written. Told at the end of the block, or before any other report: it may turn
  // out that another thread writes there, and then a race is the better report.
  std::string uninitialised;
  const Allocation* recent[4] = {};
  uint64_t recent_changes = 0;
};
Checker* const the_checker = new Checker;
Checker& checker() { return *the_checker; }

uint32_t relative(const void* pc) { return static_cast<uint32_t>(static_cast<const char*>(pc) - __executable_start); }
std::string source_at(uint32_t pc) { return source_of(__executable_start + pc); }

// What an address is, for reports and for its cells.
struct Place {
  Cell* cells = nullptr;
  uint32_t epoch = 0;
  const char* begin = nullptr;
  const std::string* name = nullptr;
  bool shared = false;
  std::string describe(const void* p) const {
    return metvox::sentence(shared ? "shared" : "global", " `", *name, "` + ", static_cast<const char*>(p) - begin,
                            " bytes");
  }
};

struct Attempt {
  const char* p;
  size_t bytes;
  Access access;
  const void* pc;
  Thread& thread;

  bool writes() const { return access == Access::write || access == Access::async_write || access == Access::atomic; }
  bool async() const { return access == Access::async_read || access == Access::async_write; }
  std::string describe() const {
    return metvox::sentence("\n  ", checker().copy.serial ? "a copy by " : "", running_block->name(thread),
                            access == Access::atomic ? " updates "
                            : writes()               ? " writes "
                                                     : " reads ",
                            bytes, " bytes at ", source_of(pc));
  }
};

[[noreturn]] void report(const std::string& what, const Attempt& a, const std::string& other = "") {
  const std::string& earlier = checker().uninitialised;
  const bool race = what.starts_with("race");
  running_block->fail_as_told(earlier.empty() || race ? metvox::sentence(what, a.describe(), other) : earlier);
}

std::string name_of(const Event& e) {
  const uint32_t block = (e.who - 1) / kMostActors, actor = (e.who - 1) % kMostActors;
  const auto threads = static_cast<uint32_t>(running_block->count);
  const bool copy = actor >= threads, here = block == checker().block;
  std::string thread = copy ? "a copy" : running_block->name_of_thread(actor);
  if (copy && here)
    thread += metvox::sentence(" by ", running_block->name_of_thread(checker().copies[actor - threads][e.clock - 1]));
  if (here) return thread;
  const dim3 g = running_block->launch->grid;
  return metvox::sentence("block (", block % g.x, ",", block / g.x % g.y, ",", block / g.x / g.y, ") ", thread);
}

// Who accesses now: thread t, or a copy in its name.
Event acting(const Thread& t, const void* pc) {
  const Checker& s = checker();
  const uint32_t first = s.block * kMostActors + 1;
  if (!s.copy.serial) return {first + t.linear, s.clocks[t.linear][t.linear], relative(pc)};
  return {first + static_cast<uint32_t>(running_block->count) + s.copy.engine, s.copy.serial, relative(pc)};
}

bool happened_before(const Event& e, const Thread& t) {
  const Checker& s = checker();
  const uint32_t block = (e.who - 1) / kMostActors, actor = (e.who - 1) % kMostActors;
  const Clock& mine = s.clocks[t.linear];
  if (block == s.block) {
    const bool own =
        s.copy.serial ? actor == running_block->count + s.copy.engine && e.clock == s.copy.serial : actor == t.linear;
    return own || covers(mine, actor, e.clock);
  }
  const auto it = s.acquired.find(block);
  return it != s.acquired.end() && (it->second.by == t.linear || it->second.at <= mine[it->second.by]) &&
         covers(*it->second.past, actor, e.clock);
}

// The writer, or the thread on whose behalf the async proxy reads, fenced after an ordinary write.
bool proxy_fenced(const Event& write, const Thread& t) {
  const Checker& s = checker();
  const uint32_t thread = (write.who - 1) % kMostActors;
  return covers(s.proxy_fences[thread], thread, write.clock) || covers(s.proxy_fences[t.linear], thread, write.clock);
}

[[noreturn]] void report_race(const char* kind, const Event& other, const char* did, const Place& place, const char* p,
                              const Attempt& a) {
  report(metvox::sentence("race (", kind, ") on ", place.describe(p)), a,
         metvox::sentence("\n  ", name_of(other), did, source_at(other.pc)));
}

void judge(Cell& c, const Place& place, const char* p, const Attempt& a) {
  if (c.epoch != place.epoch) {
    c.write.who = c.reads[0].who = c.reads[1].who = 0;
    c.atomic = c.async = false;
    if (place.shared) c.initialised = false;
    c.epoch = place.epoch;
  }
  const Thread& t = a.thread;
  const bool atomic = a.access == Access::atomic, writes = a.writes();
  if ((!writes || atomic) && !c.initialised && checker().uninitialised.empty())
    checker().uninitialised = metvox::sentence("uninitialised read of ", place.describe(p), a.describe());
  if (c.write.who && !(atomic && c.atomic) && !happened_before(c.write, t))
    report_race(writes ? "write after write" : "read after write", c.write, " wrote at ", place, p, a);
  if (a.access == Access::async_read && c.write.who && !c.async && !proxy_fenced(c.write, t))
    report(metvox::sentence("missing fence_proxy_async before the async proxy reads ", place.describe(p)), a,
           metvox::sentence("\n  ", name_of(c.write), " wrote at ", source_at(c.write.pc)));
  const Event now = acting(t, a.pc);
  if (!writes) {
    const bool first = !c.reads[0].who || c.reads[0].who == now.who || happened_before(c.reads[0], t);
    c.reads[first ? 0 : 1] = now;
    return;
  }
  for (const Event& read : c.reads)
    if (read.who && !happened_before(read, t)) report_race("write after read", read, " read at ", place, p, a);
  c.write = now;
  c.reads[0].who = c.reads[1].who = 0;
  c.initialised = true, c.atomic = atomic, c.async = a.async();
}

// ---- where an address lies ----

Place shared_place(const Attempt& a) {
  Block& b = *running_block;
  Checker& s = checker();
  const uint32_t offset = b.offset_of(a.p);
  if (const SharedVariable* v = b.variable_at(offset, a.bytes))
    return {&s.arena[offset], s.block_run, b.arena() + v->offset, &v->name, true};
  const SharedVariable* near = b.nearest_variable(offset);
  if (!near) report("shared memory out of bounds: no variable is there", a);
  report(metvox::sentence("out of bounds: shared `", near->name, "` (", near->bytes, " bytes) + ",
                          static_cast<long>(offset) - static_cast<long>(near->offset), " bytes"),
         a);
}

const Allocation* recent_allocation(const char* p) {
  Checker& s = checker();
  if (s.recent_changes != allocation_changes()) std::fill(std::begin(s.recent), std::end(s.recent), nullptr);
  s.recent_changes = allocation_changes();
  for (const Allocation*& r : s.recent)
    if (r && p >= r->begin && p < r->begin + r->bytes) {
      std::swap(r, s.recent[0]);
      return s.recent[0];
    }
  const Allocation* found = find_allocation(p);
  if (!found) return nullptr;
  std::rotate(std::begin(s.recent), std::end(s.recent) - 1, std::end(s.recent));
  return s.recent[0] = found;
}

// Kernel arguments, and constants of the program, which a kernel may read.
bool readable_elsewhere(const Attempt& a) {
  const auto* args = static_cast<const char*>(running_block->launch->args);
  const bool is_argument = a.p >= args && a.p + a.bytes <= args + running_block->launch->args_bytes;
  return !a.writes() && (is_argument || (a.p >= __executable_start && a.p < _end));
}

Place global_place(const Attempt& a) {
  Checker& s = checker();
  if (const Allocation* found = recent_allocation(a.p)) {
    const auto offset = a.p - found->begin;
    if (found->holds(a.p, a.bytes))
      return {static_cast<Cell*>(found->shadow.get()) + offset, s.launch, found->begin, &found->name, false};
    report(
        metvox::sentence("out of bounds: global `", found->name, "` (", found->bytes, " bytes) + ", offset, " bytes"),
        a);
  }
  if (readable_elsewhere(a)) return {};
  report("host pointer, or far out of bounds: no device memory is there", a);
}

Place place_of(const Attempt& a) {
  if (running_block->in_arena(a.p)) return shared_place(a);
  if (!running_block->in_stacks(a.p)) return global_place(a);
  if (a.p >= a.thread.stack_low && a.p + a.bytes <= a.thread.stack_high) return {};
  report("another thread's local memory", a);
}

// Past atomics at p: acquire what fenced threads released there, then release what this one fenced.
void order_by_atomic(const void* p, Thread& t) {
  Checker& s = checker();
  auto& released = s.released[p];
  Clock& mine = s.clocks[t.linear];
  for (const auto& [block, past] : released) {
    if (block == s.block) acquire_clock(*past, t);
    else s.acquired[block] = {past, t.linear, mine[t.linear]};
  }
  if (!s.fences[t.linear]) return;
  released[s.block] = s.fences[t.linear];
  for (const auto& [block, known] : s.acquired)
    if (known.by == t.linear || known.at <= mine[known.by]) released.emplace(block, known.past);
}

}  // namespace

void check_access(const void* p, size_t bytes, Access access, const void* pc, Thread& t) {
  const Attempt a{static_cast<const char*>(p), bytes, access, pc, t};
  const InRuntime guard;
  const Place place = place_of(a);
  if (auto& left = checker().left_indices[t.linear]) {
    const std::string what = place.cells ? metvox::sentence(*left, " in ", place.describe(p)) : *left;
    left.reset();
    report(what, a);
  }
  if (!place.cells) return;
  const Cell first = place.cells[0];
  judge(place.cells[0], place, a.p, a);
  for (size_t i = 1; i < bytes; ++i) {
    if (place.cells[i] == first) place.cells[i] = place.cells[0];  // as most bytes of an access are: judged already
    else judge(place.cells[i], place, a.p + i, a);
  }
  if (access == Access::atomic) order_by_atomic(p, t);
}

void check_alignment(const void* p, size_t bytes, bool write, const void* pc, Thread& t) {
  if (reinterpret_cast<uintptr_t>(p) % bytes == 0) return;
  const InRuntime guard;
  const Attempt a{static_cast<const char*>(p), bytes, write ? Access::write : Access::read, pc, t};
  const Place place = place_of(a);
  report(metvox::sentence("misaligned access to ", place.cells ? place.describe(p) : "local memory"), a);
}

void index_left(const std::string& what, Thread& t) { checker().left_indices[t.linear] = what; }

void checked_thread_exits(Thread& t) {
  if (auto& left = checker().left_indices[t.linear]) running_block->fail(*left);
}

std::shared_ptr<void> make_shadow(size_t bytes) {
  void* cells = std::calloc(std::max<size_t>(bytes, 1), sizeof(Cell));
  if (!cells) metvox::fail(metvox::Fault::memory, "sim: no memory to watch ", bytes, " bytes");
  return {cells, std::free};
}

void mark_initialised(const void* p, size_t bytes, bool initialised) {
  Cell* cells = nullptr;
  if (running_block && running_block->in_arena(p)) {
    cells = &checker().arena[running_block->offset_of(p)];
  } else if (const Allocation* a = find_allocation(p); a && a->holds(p, bytes)) {
    cells = static_cast<Cell*>(a->shadow.get()) + (static_cast<const char*>(p) - a->begin);
  }
  for (size_t i = 0; cells && i < bytes; ++i) cells[i].initialised = initialised;
}

void checked_launch_begins() {
  Checker& s = checker();
  s.launch = ++s.counter;
  s.released.clear();
}

void checked_block_begins(Block& b) {
  Checker& s = checker();
  s.block_run = ++s.counter;
  s.block = static_cast<uint32_t>(b.index);
  s.clocks.resize(b.count);
  for (size_t t = 0; t < b.count; ++t) s.clocks[t].assign(b.count, 0), s.clocks[t][t] = 1;
  s.fences.assign(b.count, nullptr);
  s.proxy_fences.assign(b.count, {});
  s.left_indices.assign(b.count, std::nullopt);
  s.acquired.clear();
  s.copies.clear();
  s.copy = {};
  s.uninitialised.clear();
}

std::string checked_block_ends() {
  const std::string& what = checker().uninitialised;
  return what.empty() ? "" : running_block->with_kernel(what);
}

void fence_reached(Thread& t) {
  Clock& mine = checker().clocks[t.linear];
  checker().fences[t.linear] = std::make_shared<const Clock>(mine);
  ++mine[t.linear];
}

void proxy_fence_reached(Thread& t) {
  Clock& mine = checker().clocks[t.linear];
  checker().proxy_fences[t.linear] = mine;
  ++mine[t.linear];
}

void join_clocks(Thread* const* threads, size_t n) {
  Checker& s = checker();
  static Clock joint;
  joint.assign(running_block->count, 0);
  for (size_t i = 0; i < n; ++i) merge_clock(joint, s.clocks[threads[i]->linear]);
  for (size_t i = 0; i < n; ++i) {
    Clock& c = s.clocks[threads[i]->linear];
    c = joint;
    ++c[threads[i]->linear];
  }
}

void release_clock(std::vector<uint32_t>& to, Thread& from) {
  Clock& c = checker().clocks[from.linear];
  merge_clock(to, c);
  ++c[from.linear];
}

void acquire_clock(const std::vector<uint32_t>& from, Thread& by) { merge_clock(checker().clocks[by.linear], from); }

void merge_clock(std::vector<uint32_t>& to, const std::vector<uint32_t>& from) {
  to.resize(std::max(to.size(), from.size()));
  for (size_t k = 0; k < from.size(); ++k) to[k] = std::max(to[k], from[k]);
}

Copy begin_copy(uint32_t engine, const Thread& issuer) {
  auto& copies = checker().copies;
  if (engine >= kMostMBarriers)
    running_block->fail(metvox::sentence("the checked build knows ", kMostMBarriers, " mbarriers in a block"));
  copies.resize(std::max<size_t>(copies.size(), engine + 1));
  copies[engine].push_back(issuer.linear);
  return {engine, static_cast<uint32_t>(copies[engine].size())};
}

void release_copy(std::vector<uint32_t>& to, const Copy& copy) {
  const size_t actor = running_block->count + copy.engine;
  to.resize(std::max(to.size(), actor + 1));
  to[actor] = std::max(to[actor], copy.serial);
}

AsIssued::AsIssued(Thread& t, const std::vector<uint32_t>& clock, const Copy& copy)
    : thread_(t), now_(checker().clocks[t.linear]) {
  checker().clocks[t.linear] = clock;
  checker().copy = copy;
}
AsIssued::~AsIssued() {
  std::swap(checker().clocks[thread_.linear], now_);
  checker().copy = {};
}

}  // namespace simt

#endif
