// SPDX-License-Identifier: Apache-2.0
// Workloads: whole pieces of this program's work, which `metvox bench` times beside the single ops: a training step, a
// network's forward pass, the resampling of a channel, the augmentation of a patch, the export of logits, the scores of
// a case. All on synthetic data, made anew from the seed.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "kernels/ceilings.h"
#include "kernels/engine.h"

namespace metvox {

// What one op does in a run, all its passes together.
struct OpWork {
  double flops = 0;   // of convolutions: multiplications and additions
  double values = 0;  // read and written, each of its inputs and outputs once a pass
};

struct WorkloadTime {
  int runs = 0;
  double ms_min = 0, ms_median = 0;
  std::string_view clock;  // that measured: "device", or "host", which counts what the host does and waits for as well
  std::vector<OpWork> work;  // of a network's ops; empty where there is no network
  size_t arena_bytes = 0, packed_bytes = 0;

  double flops() const;
  // The least time that the ceilings allow, op by op, none overlapping another.
  double floor_ms(const Ceilings& top, DType dtype) const;
};

struct Workload {
  std::string kind, name;        // "step", "8-16-32-64 48^3"
  std::vector<std::string> ops;  // that it is made of, to be verified first
  // runs 0: enough for two seconds, at least three.
  std::function<WorkloadTime(const Target&, int runs, uint64_t seed)> time;
  bool only_by_name = false;  // too large to be among all of its kind
  std::string line() const { return kind + " " + name; }
};
const std::vector<Workload>& workloads();

}  // namespace metvox
