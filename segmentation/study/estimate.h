// SPDX-License-Identifier: Apache-2.0
// What each job of a study will take, told before it runs: memory as the programs are planned, time from one step of
// each network and one case of each set, measured on this machine.
#pragma once
#include "kernels/engine.h"
#include "segmentation/study/jobs.h"

namespace metvox {

struct JobEstimate {
  std::optional<size_t> bytes;
  std::optional<double> seconds;  // from the beginning
};

struct StudyEstimate {
  std::map<std::string, JobEstimate> jobs;  // by name; nothing of what is short (evaluate, compare, report)
  std::vector<std::string> notes;           // what could not be measured, and why
};

// Reads or makes one case of each set and, where the plans are not made yet, every raw private case. Writes nothing.
StudyEstimate estimate_study(const StudyConfig& config, const std::vector<Job>& jobs, const Path& study,
                             const Target& target);

}  // namespace metvox
