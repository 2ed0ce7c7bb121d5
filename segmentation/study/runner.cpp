// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/runner.h"

#include <fcntl.h>
#include <omp.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <set>
#include <thread>

#include "segmentation/study/lock.h"

namespace metvox {
namespace {

using Clock = std::chrono::system_clock;

void note_time(const Path& path) { write_text(path, sentence(Clock::to_time_t(Clock::now()), "\n")); }

// What this process was started with: where OpenMP pins threads, the first one has but a part of it.
cpu_set_t all_cores() {
  cpu_set_t mask;
  sched_getaffinity(0, sizeof mask, &mask);
  for (int place = 0; place < omp_get_num_places(); ++place) {
    std::vector<int> cores(static_cast<size_t>(omp_get_place_num_procs(place)));
    omp_get_place_proc_ids(place, cores.data());
    for (const int core : cores) CPU_SET(core, &mask);
  }
  return mask;
}

// In the child: only what is async-signal-safe until it is another program. Exit code 127 when it cannot be.
[[noreturn]] void become(const Path& program, char** arguments, const Path& study, int out, const cpu_set_t& cores,
                         pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  sched_setaffinity(0, sizeof cores, &cores);
  if (getppid() != parent || chdir(study.c_str()) != 0) _exit(127);
  const int in = open("/dev/null", O_RDONLY);
  if (in < 0) _exit(127);
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(out, STDERR_FILENO);
  execv(program.c_str(), arguments);
  _exit(127);
}

// Locked as long as a process writes to it, so that nobody else is at the job.
int open_log(const Job& job, const Path& study) {
  const Path log = study / study_paths::log(job.name);
  const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (out < 0) fail(Fault::input, log.string(), ": cannot be written: ", std::strerror(errno));
  constexpr int kTries = 50;  // 5 s: of a run that was killed the job ends a little later
  for (int i = 0; i < kTries; ++i) {
    if (flock(out, LOCK_EX | LOCK_NB) == 0) return out;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  close(out);
  fail(Fault::usage, study.string(), ": another run, such as make, is at the job ", job.name, "; let it end first");
}

int run_job(const Job& job, const Path& study, const Path& program, int log) {
  std::vector<std::string> words{program.string()};
  words.insert(words.end(), job.arguments.begin(), job.arguments.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const cpu_set_t cores = all_cores();
  const pid_t parent = getpid(), child = fork();
  if (child < 0) fail(Fault::memory, "job ", job.name, " cannot be started: ", std::strerror(errno));
  if (child == 0) become(program, arguments.data(), study, log, cores, parent);
  close(log);
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) fail(Fault::internal, "job ", job.name, " cannot be waited for: ", std::strerror(errno));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Runs the job and leaves its notes in jobs/.
JobResult run_noted(const Job& job, const Path& study, const Path& program) {
  const int log = open_log(job, study);
  for (const Path& note : {study_paths::done(job.name), study_paths::partial(job.name)})
    std::filesystem::remove(study / note);
  note_time(study / study_paths::begun(job.name));
  const auto start = std::chrono::steady_clock::now();
  JobResult result;
  result.exit_code = run_job(job, study, program, log);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const bool written = std::filesystem::exists(study / job.output);
  const bool partial = job.may_be_partial && result.exit_code == static_cast<int>(Fault::partial);
  result.state = !written || (result.exit_code != 0 && !partial) ? JobState::failed
                 : partial                                       ? JobState::partial
                                                                 : JobState::done;
  if (result.state == JobState::partial) note_time(study / study_paths::partial(job.name));
  if (result.state != JobState::failed) note_time(study / study_paths::done(job.name));
  return result;
}

}  // namespace

std::vector<JobResult> run_jobs(const std::vector<Job>& jobs, const Path& study, const Path& program,
                                const RunEvents& events) {
  const StudyLock lock(study);
  std::vector<JobResult> results;
  std::set<std::string> undone, anew;
  for (const Job& job : jobs) {
    const auto needs_any = [&](const std::set<std::string>& names) {
      return std::any_of(job.needs.begin(), job.needs.end(), [&](const auto& need) { return names.contains(need); });
    };
    JobResult& result = results.emplace_back();
    if (!job_done(job, study) || needs_any(anew)) {
      if (needs_any(undone)) {
        result.state = JobState::left_out;
      } else {
        events.begin(job);
        result = run_noted(job, study, program);
        anew.insert(job.name);
      }
    }
    if (result.state == JobState::failed || result.state == JobState::left_out) undone.insert(job.name);
    events.end(job, result);
  }
  return results;
}

}  // namespace metvox
