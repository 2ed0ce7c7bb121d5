// SPDX-License-Identifier: Apache-2.0
// What a warpgroup does together: products (wgmma), and how many registers it has. Operands are found through their
// descriptors, in the canonical layouts of the PTX manual ("Asynchronous warpgroup level canonical layouts"), without
// swizzle and with that of 128 bytes.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/sim/check.h"
#include "kernels/sim/hopper_state.h"
#include "kernels/sim/report.h"
#include "tensor/dtype.h"
#include "tensor/error.h"

namespace simt {
namespace {

constexpr int kDepth = 16;

float to_float(Format f, uint16_t bits) {
  if (f == Format::f16) return static_cast<float>(std::bit_cast<metvox::f16>(bits));
  return static_cast<float>(std::bit_cast<metvox::bf16>(bits));
}

// The shared address of the 16 bytes that hold 8 neighbours along the major dimension.
struct Operand {
  uint32_t start, leading, stride, swizzle;
  bool mn_major;

  Operand(uint64_t descriptor, bool mn)
      : start(static_cast<uint32_t>(descriptor & 0x3FFF) << 4),
        leading(static_cast<uint32_t>(descriptor >> 16 & 0x3FFF) << 4),
        stride(static_cast<uint32_t>(descriptor >> 32 & 0x3FFF) << 4),
        swizzle(static_cast<uint32_t>(descriptor >> 62)),
        mn_major(mn) {
    if (swizzle > 1) running_block->fail("wgmma: the executor knows descriptors without swizzle and with 128 bytes");
  }

  uint32_t chunk(uint32_t mn, uint32_t k) const {
    uint32_t address = start;
    if (!mn_major && !swizzle) address += mn / 8 * stride + mn % 8 * 16 + k / 8 * leading;
    else if (!mn_major) address += mn / 8 * stride + mn % 8 * 128 + k * 2;
    else if (!swizzle) address += mn / 8 * stride + k % 8 * 16 + k / 8 * leading;
    else address += mn / 64 * leading + mn % 64 * 2 + k % 8 * 128 + k / 8 * stride;
    return swizzle ? address ^ ((address >> 7 & 7) << 4) : address;
  }
};

// values[mn * kDepth + k] of an operand with `rows` along mn; readers(mn) are the warps that read it.
template <class Readers>
void load(const Product& p, const Operand& from, int rows, float* values, Readers readers) {
  const int mn_step = from.mn_major ? 8 : 1, k_step = from.mn_major ? 1 : 8;
  for (int mn = 0; mn < rows; mn += mn_step)
    for (int k = 0; k < kDepth; k += k_step) {
      const uint32_t address = from.chunk(static_cast<uint32_t>(mn), static_cast<uint32_t>(k));
      if (address + 16 > Block::kArenaBytes) running_block->fail("wgmma: a descriptor leads out of shared memory");
      const char* chunk = running_block->arena() + address;
      for (int warp : readers(mn)) {
        Thread& leader = *p.leaders[static_cast<size_t>(warp)];
        [[maybe_unused]] const AsIssued past(leader, p.clocks[static_cast<size_t>(warp)]);
        check_access(chunk, 16, Access::async_read, p.pc, leader);
      }
      uint16_t bits[8];
      std::memcpy(bits, chunk, 16);
      for (int i = 0; i < 8; ++i) {
        const int row = mn + (from.mn_major ? i : 0), column = k + (from.mn_major ? 0 : i);
        values[row * kDepth + column] = to_float(p.what.format, bits[i]);
      }
    }
}

// Thread t of the warpgroup holds rows 16 (t / 32) + t % 32 / 4 and 8 more, columns 2 (t % 4) and one more, of each 8
// columns: registers as those of mma.m16n8k16, once a warp.
void a_from_registers(const Product& p, float* a) {
  for (int t = 0; t < 128; ++t)
    for (int q = 0; q < 4; ++q) {
      const int row = t / 32 * 16 + t % 32 / 4 + q % 2 * 8, column = t % 4 * 2 + q / 2 * 8;
      const uint32_t pair = p.a[static_cast<size_t>(t)][static_cast<size_t>(q)];
      a[row * kDepth + column] = to_float(p.what.format, static_cast<uint16_t>(pair));
      a[row * kDepth + column + 1] = to_float(p.what.format, static_cast<uint16_t>(pair >> 16));
    }
}

// The tensor cores may read A's registers until the product is done. `at` is the wait that ended it.
void check_registers_kept(const Product& p, Site at) {
  for (size_t t = 0; t < p.a.size(); ++t) {
    if (std::equal(p.a[t].begin(), p.a[t].end(), p.a_registers[t])) continue;
    const Thread& owner = *running_block->threads[p.leaders[0]->linear + t];
    running_block->fail_as_told(metvox::sentence("registers of A were changed while a wgmma product read them\n  ",
                                                 running_block->name(owner), " issued the product at ", source_of(p.pc),
                                                 "\n  and it was under way until ", describe(at)));
  }
}

struct NamedSums {
  const char* begin;
  size_t bytes;
};

// The compiler may use sums before the wait that does not name them. Of the last product on its sums.
void check_sums_named(const Warpgroup& w, const Product& p, Site at) {
  const auto under_way = w.accumulators.find(p.d[0]);
  if (under_way == w.accumulators.end() || under_way->second.products > 1) return;
  for (size_t t = 0; t < 128; ++t) {
    const auto& named = *static_cast<const NamedSums*>(w.args[t]);
    const auto* d = reinterpret_cast<const char*>(p.d[t]);
    if (d >= named.begin && d + static_cast<size_t>(p.what.n) * 2 <= named.begin + named.bytes) continue;
    const Thread& owner = *running_block->threads[p.leaders[0]->linear + t];
    running_block->fail_as_told(metvox::sentence("wgmma_wait does not name the sums that it ends\n  ",
                                                 running_block->name(owner), " issued their last product at ",
                                                 source_of(p.pc), "\n  and waits at ", describe(at)));
  }
}

template <class F>
void for_each_register(int n, F&& f) {  // f(thread, register, row, column) of D
  for (int t = 0; t < 128; ++t)
    for (int j = 0; j < n / 2; ++j) f(t, j, t / 32 * 16 + t % 32 / 4 + j / 2 % 2 * 8, j / 4 * 8 + t % 4 * 2 + j % 2);
}

void execute(Warpgroup& w, const Product& p) {
  const int n = p.what.n;
  static thread_local std::vector<float> a, b;
  a.assign(64 * kDepth, 0), b.assign(static_cast<size_t>(n) * kDepth, 0);
  const auto own_warp = [](int row) { return std::array{row / 16}; };
  const auto first_and_last_warp = [](int) { return std::array{0, 3}; };  // two readers are what a byte's shadow keeps
  if (p.what.a_registers) a_from_registers(p, a.data());
  else load(p, Operand(p.what.a, p.what.a_mn_major), 64, a.data(), own_warp);
  load(p, Operand(p.what.b, p.what.b_mn_major), n, b.data(), first_and_last_warp);
  auto& d = w.accumulators[p.d[0]];
  for (int row = 0; row < 64; ++row)
    for (int column = 0; column < n; ++column) {
      float sum = 0;
      for (int k = 0; k < kDepth; ++k)
        sum += a[static_cast<size_t>(row * kDepth + k)] * b[static_cast<size_t>(column * kDepth + k)];
      float& to = d.values[static_cast<size_t>(row * n + column)];
      to = (p.what.accumulate ? to : 0) + sum;
    }
  if (--d.products > 0) return;
  for_each_register(n, [&](int t, int j, int row, int column) {
    p.d[static_cast<size_t>(t)][j] = d.values[static_cast<size_t>(row * n + column)];
  });
  w.accumulators.erase(p.d[0]);
}

// All 128 threads of the warpgroup; the last one runs f(warpgroup).
template <class F>
void meet(const char* what, void* arg, Site at, F&& f) {
  [[maybe_unused]] InRuntime guard;
  Block& b = *running_block;
  Thread* const me = b.current();
  const size_t group = me->linear / 128;
  if ((group + 1) * 128 > b.count) b.fail(metvox::sentence(what, " needs a whole warpgroup of 128 threads"));
  Warpgroup& w = hopper_state().warpgroups[group];
  if (w.arrived && (w.site != at || std::strcmp(w.what, what)))
    b.fail(metvox::sentence("divergent warpgroup: ", what, " at ", describe(at), " while others are in ", w.what,
                            " at ", describe(w.site)));
  w.site = at, w.what = what;
  w.args[me->linear % 128] = arg;
  if (++w.arrived < 128) {
    w.waiting.push_back(me);
    return b.wait(at, what);
  }
  w.arrived = 0;
  f(w);
  b.wake(w.waiting.data(), w.waiting.size());
  w.waiting.clear();
  b.give_way(at);
}

struct Issue {
  const WarpgroupProduct* product;
  const void* pc;
};

Product collect(Warpgroup& w) {
  const auto arg = [&](size_t t) -> const Issue& { return *static_cast<const Issue*>(w.args[t]); };
  Product p;
  p.what = *arg(0).product, p.pc = arg(0).pc;
  const size_t first = running_block->current()->linear / 128 * 128;
  for (size_t t = 0; t < 128; ++t) {
    const WarpgroupProduct& other = *arg(t).product;
    if (other.a != p.what.a || other.b != p.what.b || other.accumulate != p.what.accumulate || other.n != p.what.n)
      running_block->fail("wgmma: descriptors or flags differ between the threads of the warpgroup");
    p.d[t] = other.d;
    if (!other.a_registers) continue;
    p.a.emplace_back();
    std::copy_n(other.a_registers, 4, p.a.back().begin());
    p.a_registers.push_back(other.a_registers);
  }
  for (size_t warp = 0; warp < 4; ++warp) {
    p.leaders[warp] = running_block->threads[first + warp * 32].get();
    release_clock(p.clocks[warp], *p.leaders[warp]);
  }
  return p;
}

void begin(Warpgroup& w, const Product& p) {
  auto& d = w.accumulators[p.d[0]];
  const int n = p.what.n;
  if (d.products++ > 0) return;
  d.values.resize(static_cast<size_t>(64 * n));
  for_each_register(n, [&](int t, int j, int row, int column) {
    float& own = p.d[static_cast<size_t>(t)][j];
    d.values[static_cast<size_t>(row * n + column)] = std::exchange(own, std::nanf(""));
  });
}

void set_registers(int per_thread, bool more, Site at) {
  meet(more ? "more_registers" : "fewer_registers", nullptr, at, [=](Warpgroup& w) {
    constexpr int kRegisters = 65536, kMost = 255;
    HopperState& state = hopper_state();
    Block& b = *running_block;
    if (!w.registers) w.registers = std::min(kRegisters / static_cast<int>(b.count), kMost) / 8 * 8;
    if (more ? per_thread < w.registers : per_thread > w.registers)
      b.fail(metvox::sentence(more ? "more" : "fewer", "_registers: a thread has ", w.registers, ", not ",
                              more ? "more" : "fewer", " than ", per_thread));
    const int wanted = (per_thread - w.registers) * 128;
    while (wanted > state.free_registers) {
      state.waiting_for_registers.push_back(b.current());
      b.wait(at, "registers that other warpgroups give up");
    }
    state.free_registers -= wanted;
    w.registers = per_thread;
    b.wake(state.waiting_for_registers.data(), state.waiting_for_registers.size());
    state.waiting_for_registers.clear();
  });
}

}  // namespace

void wgmma(const WarpgroupProduct& product, Site at) {
  Issue mine{&product, __builtin_return_address(0)};
  meet("wgmma", &mine, at, [](Warpgroup& w) {
    Product p = collect(w);
    begin(w, p);
    if (options().async == Async::eager ||
        (options().async == Async::seeded && w.open.empty() && w.groups.empty() && running_block->toss()))
      execute(w, p);
    else w.open.push_back(std::move(p));
  });
}

void wgmma_commit(Site at) {
  meet("wgmma_commit", nullptr, at, [](Warpgroup& w) { w.groups.push_back(std::exchange(w.open, {})); });
}

void wgmma_wait(int groups_left, const void* sums, size_t bytes, Site at) {
  NamedSums mine{static_cast<const char*>(sums), bytes};
  meet("wgmma_wait", &mine, at, [groups_left, at](Warpgroup& w) {
    while (w.groups.size() > static_cast<size_t>(groups_left)) {
      for (const Product& p : w.groups.front()) check_registers_kept(p, at), check_sums_named(w, p, at), execute(w, p);
      w.groups.pop_front();
    }
  });
}

void more_registers(int per_thread, Site at) { set_registers(per_thread, true, at); }
void fewer_registers(int per_thread, Site at) { set_registers(per_thread, false, at); }

const void* product_under_way(const Thread& t) {
  const auto& state = running_block->hopper;
  if (!state) return nullptr;
  const Warpgroup& w = state->warpgroups[t.linear / 128];
  for (const auto& group : w.groups)
    if (!group.empty()) return group.front().pc;
  return w.open.empty() ? nullptr : w.open.front().pc;
}

}  // namespace simt
