// SPDX-License-Identifier: Apache-2.0
// The jobs of a study one after the other, each as a process of this program: what a job takes is given back when it
// ends, one that is killed for its memory leaves the others, and the command lines are those of make and Slurm.
#pragma once
#include <functional>

#include "segmentation/study/jobs.h"

namespace metvox {

// Done before; now; now but for some cases (exit code 5, where a job may leave them out); exit code not 0; a need is
// not done.
enum class JobState { kept, done, partial, failed, left_out };

struct JobResult {
  JobState state = JobState::kept;
  int exit_code = 0;  // 128 + signal when a signal ended it
  double seconds = 0;
};

struct RunEvents {
  std::function<void(const Job&)> begin;
  std::function<void(const Job&, const JobResult&)> end;
};

// Runs what is not done, and what needs a job that was run now, in order; a job's messages go to jobs/NAME.log. A job
// that fails leaves only those that need it. One run at a time in a folder, and none of a job that a make is at, else
// an Error (Fault::usage). When this process ends, so does its job.
std::vector<JobResult> run_jobs(const std::vector<Job>& jobs, const Path& study, const Path& program,
                                const RunEvents& events);

}  // namespace metvox
