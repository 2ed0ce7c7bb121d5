// SPDX-License-Identifier: Apache-2.0
// How the threads of a block meet: barriers, and warp collectives by exchange of pointers. A lane publishes the address
// of its arguments, which lie on its own stack, and blocks; the last lane works for all and wakes the others: one
// switch a lane, no copies, any mask.
#include <bit>
#include <cstring>

#include "kernels/sim/block.h"
#include "kernels/sim/check.h"
#include "kernels/sim/report.h"
#include "tensor/error.h"

namespace simt {
namespace {

void arrive(int id, int threads, Site at, int predicate) {
  Block& b = *running_block;
  Barrier& barrier = b.barriers[id];
  Thread* const me = b.current();
  if (barrier.arrived && barrier.site != at)
    b.fail(metvox::sentence("divergent barrier: a thread is at ", describe(at), " while others wait at ",
                            describe(barrier.site)));
  barrier.site = at, barrier.threads = threads;
  barrier.trues += predicate != 0;
  ++barrier.arrived;
  if (static_cast<size_t>(barrier.arrived) == (threads ? static_cast<size_t>(threads) : b.alive)) {
    b.finish_barrier(barrier, me);
    b.give_way(at);
  } else {
    barrier.waiting.push_back(me);
    b.wait(at, "the barrier");
  }
}

// The pending collective that the lane joins; a new one where it is the first. Lanes that wait for each other in
// different places never come together.
Collective& join_collective(Block& b, Warp& warp, const char* what, uint32_t mask, Combine combine, Site at) {
  const uint32_t me = 1u << b.current()->lane();
  for (Collective& c : warp.pending) {
    if (c.mask == mask && c.combine == combine && c.site == at) return c;
    if ((c.mask & me) && (c.arrived & mask))
      b.fail(metvox::sentence("divergent warp collective: ", what, " at ", describe(at),
                              " while other lanes of its mask are in ", c.what, " at ", describe(c.site)));
  }
  return warp.pending.emplace_back(mask, combine, at, what);
}

void collective(const char* what, uint32_t mask, void* arg, Combine combine, Site at, bool orders_memory) {
  [[maybe_unused]] InRuntime guard;
  Block& b = *running_block;
  Thread* const me = b.current();
  Warp& warp = b.warps[me->warp];
  const uint32_t bit = 1u << me->lane();
  if (!(mask & bit)) b.fail(metvox::sentence(what, " at ", describe(at), ": the lane is not in its own mask"));
  const size_t lanes = b.count - me->warp * 32;
  if (lanes < 32) mask &= (1u << lanes) - 1;  // lanes that the last warp never had are ignored, as on the device
  if ((mask & warp.alive) != mask)
    b.fail(metvox::sentence(what, " at ", describe(at), ": the mask names lanes that have exited"));
  Collective& c = join_collective(b, warp, what, mask, combine, at);
  c.args[me->lane()] = arg;
  c.arrived |= bit;
  if (c.arrived != mask) return b.wait(at, what);
  combine(c.args, mask);
  if (&c != &warp.pending.back()) c = warp.pending.back();
  warp.pending.pop_back();
  Thread *all[32], *others[32];
  size_t n = 0, woken = 0;
  for (uint32_t left = mask; left; left &= left - 1) {
    Thread* t = b.threads[me->warp * 32 + static_cast<unsigned>(std::countr_zero(left))].get();
    all[n++] = t;
    if (t != me) others[woken++] = t;
  }
  if (orders_memory) join_clocks(all, n);
  b.wake(others, woken);
  b.give_way(at);
}

struct Shuffle {
  void* value;
  size_t bytes;
  int source;
  unsigned char sent[16];
};

void shuffle(void* const* args, uint32_t mask) {
  for (uint32_t left = mask; left; left &= left - 1) {
    auto& mine = *static_cast<Shuffle*>(args[std::countr_zero(left)]);
    if (mine.source < 0) continue;
    if (mask >> mine.source & 1) std::memcpy(mine.value, static_cast<Shuffle*>(args[mine.source])->sent, mine.bytes);
    else std::memset(mine.value, 0xFF, mine.bytes);  // undefined on the device
  }
}

struct Vote {
  bool mine;
  uint32_t all;
};

void count_votes(void* const* args, uint32_t mask) {
  uint32_t all = 0;
  for (uint32_t left = mask; left; left &= left - 1)
    if (static_cast<Vote*>(args[std::countr_zero(left)])->mine) all |= left & -left;
  for (uint32_t left = mask; left; left &= left - 1) static_cast<Vote*>(args[std::countr_zero(left)])->all = all;
}

}  // namespace

void Block::finish_barrier(Barrier& barrier, Thread* last) {
  barrier.last_trues = barrier.trues, barrier.last_arrived = barrier.arrived;
  barrier.arrived = barrier.trues = 0;
  if (last && kChecked) barrier.waiting.push_back(last);
  join_clocks(barrier.waiting.data(), barrier.waiting.size());
  if (last && kChecked) barrier.waiting.pop_back();
  wake(barrier.waiting.data(), barrier.waiting.size());
  barrier.waiting.clear();
}

void barrier(int id, int threads, Site at) {
  [[maybe_unused]] InRuntime guard;
  arrive(id, threads, at, 0);
}

int barrier_reduce(Reduce op, int predicate, Site at) {
  [[maybe_unused]] InRuntime guard;
  arrive(0, 0, at, predicate);
  const Barrier& b = running_block->barriers[0];
  if (op == Reduce::count) return b.last_trues;
  return op == Reduce::any ? b.last_trues > 0 : b.last_trues == b.last_arrived;
}

void warp_collective(const char* what, uint32_t mask, void* arg, Combine combine, Site at) {
  collective(what, mask, arg, combine, at, false);
}

void warp_barrier(uint32_t mask, Site at) {
  collective(
      "__syncwarp", mask, nullptr, [](void* const*, uint32_t) {}, at, true);
}

void warp_shuffle(const char* what, uint32_t mask, void* value, size_t bytes, int source, Site at) {
  Shuffle s{value, bytes, source, {}};
  std::memcpy(s.sent, value, bytes);
  warp_collective(what, mask, &s, shuffle, at);
}

uint32_t warp_ballot(const char* what, uint32_t mask, bool predicate, Site at) {
  Vote v{predicate, 0};
  warp_collective(what, mask, &v, count_votes, at);
  return v.all;
}

}  // namespace simt
