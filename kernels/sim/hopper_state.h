// SPDX-License-Identifier: Apache-2.0
// What a block on the executor has of Hopper's units: its mbarriers, its warpgroups' registers and the products that
// they have under way.
#pragma once
#include <array>
#include <deque>
#include <map>
#include <vector>

#include "kernels/sim/block.h"
#include "kernels/sim/hopper.h"

namespace simt {

struct MBarrier {
  uint32_t arrivals = 0, pending = 0, phase = 0;
  int64_t bytes = 0;                         // still to come in this phase
  uint32_t engine = 0;                       // its number among the block's, for the copies that it waits for
  std::vector<uint32_t> arriving, complete;  // clocks of the checked build: of this phase, of those before
  std::vector<Thread*> waiting;
};

struct Product {
  WarpgroupProduct what;
  std::array<float*, 128> d{};
  std::vector<std::array<uint32_t, 4>> a;  // by thread, where A comes from registers: what they held, and which
  std::vector<const uint32_t*> a_registers;
  std::array<Thread*, 4> leaders{};  // of the four warps, for the checked build
  std::array<std::vector<uint32_t>, 4> clocks;
  const void* pc = nullptr;
};

struct Warpgroup {
  std::vector<Product> open;
  std::deque<std::vector<Product>> groups;
  // Accumulators while products on them are under way, keyed by the first thread's; the threads' own hold poison.
  struct Accumulator {
    int products = 0;
    std::vector<float> values;  // [64][n]
  };
  std::map<float*, Accumulator> accumulators;
  int registers = 0;  // a thread's; 0: as launched
  void* args[128];
  int arrived = 0;
  const char* what = "";
  Site site;
  std::vector<Thread*> waiting;
};

struct HopperState {
  std::map<uint32_t, MBarrier> barriers;  // by shared address
  Warpgroup warpgroups[8];
  int free_registers = 0;  // that warpgroups gave up
  std::vector<Thread*> waiting_for_registers;
};

HopperState& hopper_state();  // of the block that runs

}  // namespace simt
