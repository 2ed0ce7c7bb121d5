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
  int coordinates[5], tap[3];
  Thread* thread;
  std::vector<uint32_t> clock;
  const void* pc;
  Copy copy;
};

uint32_t box_bytes(const metvox::sim::TensorMap& m) {
  if (m.pixels) return m.element_bytes * m.box[0] * m.pixels;
  uint32_t bytes = m.element_bytes;
  for (int k = 0; k < m.rank; ++k) bytes *= m.box[k];
  return bytes;
}

// Where byte `i` of a box of this swizzle lies: chunks of 16 bytes change places within 128, by the row of 128 bytes.
uint32_t swizzled(uint32_t address, uint32_t span) {
  return span == 128 ? address ^ ((address >> 7 & 7) << 4) : address;
}

// Places of a kernel along dimension k (1 to 3) of an image.
int64_t places(const metvox::sim::TensorMap& m, int k) {
  return (static_cast<int64_t>(m.extent[k]) - 1 + m.upper[k - 1] - m.lower[k - 1]) / m.step[k - 1] + 1;
}

// Where element `i` of the load's box is read.
void find_element(const Load& l, uint32_t i, int64_t (&at)[5]) {
  const auto& m = l.map;
  for (int k = 0; k < m.rank; ++k) at[k] = l.coordinates[k];
  if (!m.pixels) {
    for (int k = 0; k < m.rank; i /= m.box[k++]) at[k] += i % m.box[k];
    return;
  }
  at[0] += i % m.box[0];
  int64_t place = i / m.box[0];  // so many places further, w fastest, within the bounding box
  for (int k = 1; k < 4; ++k) {
    place += (at[k] - m.lower[k - 1]) / m.step[k - 1];
    at[k] = m.lower[k - 1] + place % places(m, k) * m.step[k - 1] + l.tap[k - 1];
    place /= places(m, k);
  }
  at[4] += place;
}

void copy_box(const Load& l) {
  const auto& m = l.map;
  const uint32_t start = running_block->offset_of(l.to);
  const uint32_t total = box_bytes(m);
  const bool whole = l.coordinates[0] * static_cast<int64_t>(m.element_bytes) % 16 == 0 &&
                     m.extent[0] * m.element_bytes % 16 == 0;  // 16 bytes are inside or outside together
  const uint32_t piece = whole ? 16 : m.element_bytes;
  for (uint32_t i = 0; i < total; i += piece) {
    int64_t at[5];
    find_element(l, i / m.element_bytes, at);
    const char* from = m.base;
    bool inside = true;
    for (int k = 0; k < m.rank; ++k) {
      inside = inside && at[k] >= 0 && at[k] < static_cast<int64_t>(m.extent[k]);
      from += at[k] * static_cast<int64_t>(m.stride_bytes[k]);
    }
    char* to = running_block->arena() + swizzled(start + i, m.swizzle_bytes);
    check_access(to, piece, Access::async_write, l.pc, *l.thread);
    if (inside) check_access(from, piece, Access::async_read, l.pc, *l.thread);
    if (inside) std::memcpy(to, from, piece);
    else std::memset(to, 0, piece);
  }
}

// What the hardware would take for another load, or refuse.
void check_load(const Load& l) {
  Block& b = *running_block;
  const auto& m = l.map;
  const uint32_t alignment = m.swizzle_bytes ? 1024 : 128, address = shared_address(l.to);
  if (address % alignment)
    b.fail(metvox::sentence("misaligned access: TMA to shared address ", address, ", not a multiple of ", alignment,
                            ", at ", source_of(l.pc)));
  for (int k = 1; m.pixels && k < 4; ++k) {
    const int first = l.coordinates[k] - m.lower[k - 1], step = m.step[k - 1], tap = l.tap[k - 1];
    if (first < 0 || first % step || first / step >= places(m, k) || tap < 0 || tap > 31)
      b.fail(metvox::sentence("out of bounds: TMA by im2col from ", "cwhdn"[k], " = ", l.coordinates[k],
                              " through tap ", tap, ", where the kernel's places begin at ", m.lower[k - 1], ", ", step,
                              " apart, ", places(m, k), " of them, and taps are 0 to 31, at ", source_of(l.pc)));
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

void tma_load(void* to, const metvox::sim::TensorMap& map, uint64_t* barrier, const int* coordinates, const int* tap) {
  [[maybe_unused]] InRuntime guard;
  Block& b = *running_block;
  const void* pc = __builtin_return_address(0);
  Load load{static_cast<char*>(to), map, barrier, {}, {}, b.current(), {}, pc, {}};
  if ((tap != nullptr) != (map.pixels > 0))
    b.fail(metvox::sentence("TMA: a tiled load of a map for im2col, or the other way round, at ", source_of(pc)));
  std::memcpy(load.coordinates, coordinates, sizeof(int) * static_cast<size_t>(map.rank));
  if (tap) std::memcpy(load.tap, tap, sizeof load.tap);
  check_load(load);
  const uint32_t bytes = box_bytes(map);
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
