// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/estimate.h"
#include "segmentation/study/overlap.h"
#include "segmentation/study/report.h"
#include "segmentation/study/runner.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace metvox {
namespace {

struct Request {
  Path config, out;
  std::string scale, jobs = "here";
  bool report = false;
};

bool parse(CommandLine& line, Request& r) {
  line.positional("CONFIG.json", r.config, "data sets, models, folds, budgets; docs/study.md has every key");
  line.option("out,o", r.out, "DIR", "the study's folder; run it again to go on where it stopped", Need::required);
  line.choice("scale", r.scale, {"demo", "paper"},
              "what the file leaves out: small enough for two CPU cores, or as published; default: the file's "
              "\"scale\", else paper");
  line.choice("jobs", r.jobs, {"here", "make", "slurm"},
              "run the jobs one after the other, or write DIR/Makefile, or DIR/slurm/*.sbatch and submit.sh");
  line.option("report", r.report, "only write DIR/report/index.html, from what is there");
  line.common({Common::device, Common::engine, Common::precision, Common::threads, Common::json, Common::quiet,
               Common::dry_run});
  if (!line.parse()) return false;
  if (r.report && (line.given("jobs") || line.values().dry_run))
    fail(Fault::usage, "--report writes the page and runs nothing; leave out --jobs and --dry-run");
  return true;
}

// What the trainings and predictions are told.
MachineFlags machine_flags(const CommandLine& line) {
  MachineFlags flags;
  const CommonValues& v = line.values();
  for (const auto& [name, value] :
       {std::pair<std::string, std::string>{"device", v.device}, {"engine", v.engine}, {"precision", v.precision}})
    if (line.given(name)) flags.compute.insert(flags.compute.end(), {"--" + name, value});
  if (line.given("threads")) flags.threads = {"--threads", std::to_string(v.threads)};
  return flags;
}

std::string size_text(size_t bytes) { return sentence((bytes + (size_t{1} << 19)) >> 20, " MiB"); }

int dry_run(const CommandLine& line, const StudyConfig& config, const std::vector<Job>& jobs, const Path& out) {
  const StudyEstimate estimate = estimate_study(config, jobs, out, line.target());
  Json list = Json::array();
  double to_do = 0;
  size_t most = 0;
  for (const Job& job : jobs) {
    const JobEstimate& e = estimate.jobs.at(job.name);
    const bool done = job_done(job, out);
    if (!done) to_do += e.seconds.value_or(0);
    most = std::max(most, e.bytes);
    list.push_back({{"name", job.name}, {"done", done}, {"needs", job.needs}, {"command", command_text(job)}});
    list.back()["bytes"] = e.bytes;
    list.back()["seconds"] = e.seconds ? Json(*e.seconds) : Json();
    if (!line.values().json)
      std::printf("%-30s %10s  %12s  %s\n", job.name.c_str(), size_text(e.bytes).c_str(),
                  done        ? "done"
                  : e.seconds ? duration_text(*e.seconds).c_str()
                              : "",
                  command_text(job).c_str());
  }
  for (const std::string& note : estimate.notes) line.say("note: ", note);
  if (line.values().json)
    print_json({{"jobs", list}, {"seconds", to_do}, {"most_bytes", most}, {"notes", estimate.notes}});
  else
    std::printf(
        "%zu jobs; what is not done takes about %s one after the other, at most %s at once. Times are of this machine "
        "as "
        "busy as it is, from one step of each network and one case of each set.\n",
        jobs.size(), duration_text(to_do).c_str(), size_text(most).c_str());
  return 0;
}

// What Slurm is asked for: of jobs that a GPU computes, what they need beside its memory is not known here.
std::map<std::string, size_t> bytes_by_job(const CommandLine& line, const StudyConfig& config,
                                           const std::vector<Job>& jobs, const Path& out) {
  const Target target = line.target();
  std::map<std::string, size_t> bytes;
  for (const auto& [name, estimate] : estimate_study(config, jobs, out, target, false).jobs)
    bytes[name] = estimate.bytes;
  if (!target.device.is_cpu())
    for (const Job& job : jobs)
      if (job.arguments[0] == "train" || job.arguments[0] == "predict" || job.arguments[0] == "explain")
        bytes.erase(job.name);
  return bytes;
}

int write_jobs(const CommandLine& line, const StudyConfig& config, const Request& r, const std::vector<Job>& jobs,
               const Path& program) {
  if (r.jobs == "make") {
    write_makefile(jobs, r.out, program);
    std::printf("make -k -C %s -j 1\n", shell_quoted(r.out).c_str());
  } else {
    write_slurm(jobs, bytes_by_job(line, config, jobs, r.out), r.out, program);
    std::printf("bash %s\n", shell_quoted(r.out / "slurm" / "submit.sh").c_str());
  }
  return 0;
}

std::string result_text(const JobResult& result) {
  switch (result.state) {
    case JobState::kept: return "was done before";
    case JobState::done: return "done in " + duration_text(result.seconds);
    case JobState::partial: return "done in " + duration_text(result.seconds) + " without some cases, as its log says";
    case JobState::failed: return sentence("failed with exit code ", result.exit_code);
    case JobState::left_out: return "left out, since it needs one that failed";
  }
  return "";
}

int run_here(const CommandLine& line, const Request& r, const std::vector<Job>& jobs, const Path& program) {
  size_t number = 0;
  RunEvents events;
  events.begin = [&](const Job& job) { line.say("[", number + 1, "/", jobs.size(), "] ", command_text(job)); };
  events.end = [&](const Job& job, const JobResult& result) {
    ++number;
    if (result.state == JobState::failed || result.state == JobState::partial)
      line.warn(job.name, " ", result_text(result), "; see ", (r.out / study_paths::log(job.name)).string());
    else line.say("[", number, "/", jobs.size(), "] ", job.name, ": ", result_text(result));
  };
  const std::vector<JobResult> results = run_jobs(jobs, r.out, program, events);
  int64_t done = 0, partial = 0, failed = 0, left_out = 0;
  int first_failure = 0;
  for (const JobResult& result : results) {
    done += result.state == JobState::done || result.state == JobState::kept;
    partial += result.state == JobState::partial;
    left_out += result.state == JobState::left_out;
    failed += result.state == JobState::failed;
    if (result.state == JobState::failed && first_failure == 0) first_failure = result.exit_code;
  }
  const Path page = r.out / "report" / "index.html";
  if (line.values().json)
    print_json({{"out", r.out.string()},
                {"report", page.string()},
                {"jobs", jobs.size()},
                {"done", done},
                {"partial", partial},
                {"failed", failed},
                {"left_out", left_out}});
  else if (failed == 0) std::printf("%s\n", page.c_str());
  if (partial > 0)
    line.warn(partial, " jobs left out cases that could not be done; the page names them. Mend them and run it again");
  if (failed == 0) return partial == 0 ? 0 : code(Fault::partial);
  line.warn(failed, " jobs failed, ", left_out,
            " that need them were left out; mend the cause and run it again. --report ",
            "writes the page from what is there");
  return done + partial > 0 ? code(Fault::partial) : first_failure == 0 ? code(Fault::internal) : first_failure;
}

int run(CommandLine& line) {
  Request r;
  if (!parse(line, r)) return 0;
  const StudyConfig config = study_config(read_json(r.config), r.config, r.scale);
  if (r.report) {
    write_study_report(config, r.out);
    std::printf("%s\n", (r.out / "report" / "index.html").c_str());
    return 0;
  }
  for (const std::string& note : require_sets_apart(config)) line.warn("note: ", note);
  const std::vector<Job> jobs = study_jobs(config, machine_flags(line));
  if (line.values().dry_run) return dry_run(line, config, jobs, r.out);
  line.target();  // refuses here what every training would refuse
  prepare_study(config, r.out);
  const Path program = std::filesystem::read_symlink("/proc/self/exe");
  return r.jobs == "here" ? run_here(line, r, jobs, program) : write_jobs(line, config, r, jobs, program);
}

const VerbEntry entry{{"study", Stage::results, "the whole experiment: does fine-tuning help, with which model?",
                       "metvox study docs/study/phantom.json --scale demo --out study", run}};

}  // namespace
}  // namespace metvox
