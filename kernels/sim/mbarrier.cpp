// SPDX-License-Identifier: Apache-2.0
// mbarriers and the tensor memory accelerator.
#include <cstring>

#include "kernels/sim/check.h"
#include "kernels/sim/hopper_state.h"
#include "kernels/sim/report.h"
#include "tensor/error.h"

namespace simt {

HopperState& hopper_state() {
  if (options().arch < 900) running_block->fail("mbarrier, TMA and wgmma wrappers need sm_90");
  auto& state = running_block->hopper;
  if (!state) state = std::make_shared<HopperState>();
  return *state;
}

namespace {

MBarrier& find(uint64_t* barrier) {
  auto& all = hopper_state().barriers;
  const auto it = all.find(shared_address(barrier));
  if (it == all.end()) running_block->fail("mbarrier used before its mbarrier_init");
  return it->second;
}

void complete_if_due(MBarrier& m) {
  if (m.pending || m.bytes) return;
  ++m.phase;
  m.pending = m.arrivals;
  m.complete = m.arriving;
  running_block->wake(m.waiting.data(), m.waiting.size());
  m.waiting.clear();
}

struct Load {
  char* to;
  metvox::sim::TensorMap map;
  uint64_t* barrier;
  int coordinates[5];
  Thread* thread;
  std::vector<uint32_t> clock;
  const void* pc;
  Copy copy;
};

uint32_t box_bytes(const metvox::sim::TensorMap& m) {
  uint32_t bytes = m.element_bytes;
  for (int k = 0; k < m.rank; ++k) bytes *= m.box[k];
  return bytes;
}

// Where byte `i` of a box of this swizzle lies: chunks of 16 bytes change places within 128, by the row of 128 bytes.
uint32_t swizzled(uint32_t address, uint32_t span) {
  return span == 128 ? address ^ ((address >> 7 & 7) << 4) : address;
}

void copy_box(const Load& l) {
  const auto& m = l.map;
  const uint32_t start = running_block->offset_of(l.to);
  const uint32_t total = box_bytes(m);
  for (uint32_t i = 0; i < total; i += m.element_bytes) {
    uint32_t rest = i / m.element_bytes;
    const char* from = m.base;
    bool inside = true;
    for (int k = 0; k < m.rank; ++k) {
      const int64_t at = l.coordinates[k] + static_cast<int64_t>(rest % m.box[k]);
      rest /= m.box[k];
      inside = inside && at >= 0 && at < static_cast<int64_t>(m.extent[k]);
      from += at * static_cast<int64_t>(m.stride_bytes[k]);
    }
    char* to = running_block->arena() + swizzled(start + i, m.swizzle_bytes);
    check_access(to, m.element_bytes, Access::async_write, l.pc, *l.thread);
    if (inside) check_access(from, m.element_bytes, Access::async_read, l.pc, *l.thread);
    if (inside) std::memcpy(to, from, m.element_bytes);
    else std::memset(to, 0, m.element_bytes);
  }
}

void finish(const Load& l) {
  {
    [[maybe_unused]] const AsIssued past(*l.thread, l.clock, l.copy);
    copy_box(l);
  }
  MBarrier& m = find(l.barrier);
  m.bytes -= box_bytes(l.map);
  merge_clock(m.arriving, l.clock);
  release_copy(m.arriving, l.copy);
  complete_if_due(m);
}

}  // namespace

void mbarrier_init(uint64_t* barrier, uint32_t arrivals) {
  [[maybe_unused]] InRuntime guard;
  check_access(barrier, 8, Access::write, __builtin_return_address(0), *running_block->current());
  auto& all = hopper_state().barriers;
  const auto [it, fresh] = all.try_emplace(shared_address(barrier));
  MBarrier m;
  m.arrivals = m.pending = arrivals;
  m.engine = fresh ? static_cast<uint32_t>(all.size() - 1) : it->second.engine;
  it->second = m;
}

void mbarrier_arrive(uint64_t* barrier, uint32_t expected_bytes) {
  [[maybe_unused]] InRuntime guard;
  Thread& t = *running_block->current();
  MBarrier& m = find(barrier);
  check_access(barrier, 8, Access::read, __builtin_return_address(0), t);
  if (!m.pending) running_block->fail("mbarrier: more arrivals than it was made for");
  m.bytes += expected_bytes;
  --m.pending;
  release_clock(m.arriving, t);
  complete_if_due(m);
}

void mbarrier_wait(uint64_t* barrier, uint32_t parity, Site at) {
  [[maybe_unused]] InRuntime guard;
  Thread& t = *running_block->current();
  MBarrier& m = find(barrier);
  check_access(barrier, 8, Access::read, __builtin_return_address(0), t);
  while ((m.phase & 1) == (parity & 1)) {
    m.waiting.push_back(&t);
    running_block->wait(at, "the mbarrier");
  }
  acquire_clock(m.complete, t);
}

void proxy_fence() { proxy_fence_reached(*running_block->current()); }

void tma_load(void* to, const metvox::sim::TensorMap& map, uint64_t* barrier, const int* coordinates) {
  [[maybe_unused]] InRuntime guard;
  Block& b = *running_block;
  const void* pc = __builtin_return_address(0);
  Load load{static_cast<char*>(to), map, barrier, {}, b.current(), {}, pc, {}};
  const uint32_t alignment = map.swizzle_bytes ? 1024 : 128, bytes = box_bytes(map);
  if (shared_address(to) % alignment)
    b.fail(metvox::sentence("misaligned access: TMA to shared address ", shared_address(to), ", not a multiple of ",
                            alignment, ", at ", source_of(pc)));
  std::memcpy(load.coordinates, coordinates, sizeof(int) * static_cast<size_t>(map.rank));
  load.copy = begin_copy(find(barrier).engine, *load.thread);
  release_clock(load.clock, *load.thread);
  {  // From now on the box may be written.
    [[maybe_unused]] const AsIssued as_copy(*load.thread, load.clock, load.copy);
    for (uint32_t i = 0; i < bytes; i += 16) check_access(load.to + i, 16, Access::async_write, pc, *load.thread);
  }
  if (options().async != Async::eager) {
    std::memset(to, 0xFF, bytes);
    mark_initialised(to, bytes, false);
  }
  b.add_job([load] { finish(load); }, pc);
}

}  // namespace simt
