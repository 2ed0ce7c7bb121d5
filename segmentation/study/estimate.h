// SPDX-License-Identifier: Apache-2.0
// What each job of a study will take, told before it runs: memory as the programs are planned or from the size of the
// images, time from one step of each network, one case of each set and scores made up, measured on this machine; that
// of the forms and of the report is from sizes alone.
#pragma once
#include "kernels/engine.h"
#include "segmentation/study/jobs.h"

namespace metvox {

struct JobEstimate {
  size_t bytes = 0;
  std::optional<double> seconds;  // from the beginning
};

struct StudyEstimate {
  std::map<std::string, JobEstimate> jobs;  // of every one, by name
  std::vector<std::string> notes;           // what could not be measured, and why
};

// Reads or makes one case of each set and, where the plans are not made yet, every raw private case. Writes nothing.
// `with_times` false leaves the networks' steps out, which take longest, and with them the times of what needs them.
StudyEstimate estimate_study(const StudyConfig& config, const std::vector<Job>& jobs, const Path& study,
                             const Target& target, bool with_times = true);

}  // namespace metvox
