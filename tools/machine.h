// SPDX-License-Identifier: Apache-2.0
// What this machine offers, and how the program's CPU threads are placed on it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/json.h"
#include "tensor/device.h"

namespace metvox {

// Physical cores this process may use: the affinity mask, without hyper-thread siblings, at most the cgroup's CPU
// quota.
int usable_cores();

// Sets the number of threads (0: OMP_NUM_THREADS, else usable_cores()). When they fill every core this process may use
// and OMP_PROC_BIND is unset, the program replaces itself by itself with threads pinned, since the OpenMP runtime reads
// its environment only when it is loaded: unpinned threads sometimes share a core, and a step then takes multiples of
// its time.
void start_threads(int threads);

// The device that --device names: auto (a CUDA device where there is one), cpu, cuda, cuda:N, and sim, which no help
// text tells. Throws Error (Fault::usage).
Device find_device(const std::string& name);

// CPU, GPUs, memory, engines and their versions: `metvox devices --json`.
Json describe_machine();
// "not in this build", "in this build, but no device or driver", "1 device".
std::string cuda_line();
// One line: "engines: onednn 2.6.3, native, reference; cuda: not in this build".
std::string engines_line();

}  // namespace metvox
