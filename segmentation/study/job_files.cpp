// SPDX-License-Identifier: Apache-2.0
// The graph for programs that run graphs: make and Slurm. Both leave the files in jobs/ that run_jobs() leaves.
#include <algorithm>
#include <map>
#include <set>

#include "segmentation/study/jobs.h"

namespace metvox {
namespace {

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += " " + shell_quoted(word);
  return all;
}

std::string variable(const std::string& stage) { return replaced(stage, "-", "_"); }

// Jobs by stage, stages in the order of their first jobs.
std::vector<std::pair<std::string, std::vector<const Job*>>> stages_of(const std::vector<Job>& jobs) {
  std::vector<std::pair<std::string, std::vector<const Job*>>> stages;
  for (const Job& job : jobs) {
    if (stages.empty() || stages.back().first != job.stage) stages.push_back({job.stage, {}});
    stages.back().second.push_back(&job);
  }
  return stages;
}

std::string spaced(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : " ") + word;
  return all;
}

// A task passes over its job when that is done, whole, and not before what it needs.
std::string sbatch_script(const std::string& stage, const std::vector<const Job*>& jobs, const std::string& memory,
                          const Path& program) {
  const std::string partial = jobs.front()->may_be_partial
                                  ? "|| { status=$?; [ $status = 5 ] || exit $status; date +%s > \"$job.partial\"; }"
                                  : "";
  std::string text = sentence(
      "#!/usr/bin/env bash\n#SBATCH --job-name=metvox-", stage, "\n#SBATCH --array=0-", jobs.size() - 1, memory,
      "\n#SBATCH --output=jobs/slurm-", stage,
      "-%a.txt\n# Submitted from the study's folder by submit.sh. A job that is done is passed over.\n"
      "set -euo pipefail\ncd \"${SLURM_SUBMIT_DIR:?}\"\nmetvox=${METVOX:-",
      shell_quoted(program.string()),
      "}\nis_done() {\n  [ -e \"$job.done\" ] && [ ! -e \"$job.partial\" ] || return 1\n"
      "  for need in $needs; do [ ! \"jobs/$need.done\" -nt \"$job.done\" ] || return 1; done\n}\n"
      "run() {\n  job=jobs/$1\n  shift\n  if is_done; then return; fi\n  rm -f \"$job.done\" \"$job.partial\"\n"
      "  date +%s > \"$job.begun\"\n  \"$metvox\" \"$@\" >> \"$job.log\" 2>&1 ",
      partial, "\n  date +%s > \"$job.done\"\n}\ncase $SLURM_ARRAY_TASK_ID in\n");
  for (size_t i = 0; i < jobs.size(); ++i)
    text += sentence("  ", i, ") needs=", shell_quoted(spaced(jobs[i]->needs)), " run ", jobs[i]->name,
                     joined(jobs[i]->arguments), " ;;\n");
  return text + "esac\n";
}

// "#SBATCH --mem=...", of a quarter of a GiB or several, or nothing.
std::string memory_line(const std::vector<const Job*>& jobs, const std::map<std::string, size_t>& bytes) {
  constexpr size_t kMiB = size_t{1} << 20, kStep = 256 * kMiB;
  size_t most = 0;
  for (const Job* job : jobs) {
    const auto found = bytes.find(job->name);
    if (found == bytes.end()) return "";
    most = std::max(most, found->second);
  }
  return sentence("\n#SBATCH --mem=", (most + most / 2 + kStep - 1) / kStep * kStep / kMiB, "M");
}

// "afterok:$pretrain", or aftercorr where each job needs the one of its own number there.
std::string dependencies(const std::vector<const Job*>& jobs,
                         const std::map<std::string, std::pair<std::string, size_t>>& places,
                         const std::map<std::string, size_t>& sizes) {
  std::map<std::string, bool> corresponds;  // by stage
  for (size_t i = 0; i < jobs.size(); ++i)
    for (const std::string& need : jobs[i]->needs) {
      const auto& [stage, index] = places.at(need);
      const bool same = sizes.at(stage) == jobs.size() && index == i && jobs.size() > 1;
      corresponds.try_emplace(stage, true).first->second &= same;
    }
  std::string text;
  for (const auto& [stage, each] : corresponds)
    text += (text.empty() ? "--dependency=" : ",") + std::string(each ? "aftercorr:$" : "afterok:$") + variable(stage);
  return text;
}

}  // namespace

std::string command_text(const Job& job) { return "metvox" + joined(job.arguments); }

void write_makefile(const std::vector<Job>& jobs, const Path& study, const Path& program) {
  const auto in_make = [](const std::string& text) { return replaced(text, "$", "$$"); };
  std::string text =
      R"(# The jobs of this study: make -C THIS_FOLDER -j N runs what is not done, N at a time, -k also what
# does not need a job that failed. A job takes every core unless the study was given --threads. One that left out cases
# (exit code 5) is tried again by the next make. One make or metvox study at a time is at a job: its log is locked.
)";
  text += "METVOX ?= " + in_make(shell_quoted(program.string())) + R"(
free = flock -w 5 $(@:.done=.log) true || { echo '$@: another run is at this job' >&2; false; }
told = { tail -n 5 $(@:.done=.log) >&2; false; }
whole = >> $(@:.done=.log) 2>&1 || $(told)
some = >> $(@:.done=.log) 2>&1 || { test $$? = 5 && date +%s > $(@:.done=.partial); } || $(told)
.PHONY: all $(patsubst %.partial,%.done,$(wildcard jobs/*.partial))
all:)";
  for (const Job& job : jobs) text += " \\\n  " + study_paths::done(job.name).string();
  text += "\n";
  for (const Job& job : jobs) {
    text += "\n" + study_paths::done(job.name).string() + ":";
    for (const std::string& need : job.needs) text += " " + study_paths::done(need).string();
    text += "\n\t@$(free)\n\t@rm -f $(@:.done=.partial)\n\t@date +%s > $(@:.done=.begun)\n";
    text += "\tflock -n $(@:.done=.log) $(METVOX)" + in_make(joined(job.arguments)) +
            (job.may_be_partial ? " $(some)" : " $(whole)") + "\n\t@date +%s > $@\n";
  }
  write_text(study / "Makefile", text);
}

void write_slurm(const std::vector<Job>& jobs, const std::map<std::string, size_t>& bytes, const Path& study,
                 const Path& program) {
  std::string submit = R"(#!/usr/bin/env bash
# bash slurm/submit.sh: hands in every stage of this study with what it depends on. Options of sbatch for all stages in
# SBATCH_OPTIONS, for those that train and predict in COMPUTE_OPTIONS, such as "--gres=gpu:1 --mem=32G", go before the
# memory that a stage asks for itself; metvox study --dry-run says what each job takes. Hand it in again after a failure,
# when what was handed in before has ended: nothing else keeps two tasks from one job. What is done is passed over.
set -euo pipefail
cd "$(dirname "$0")/.."
submit() { sbatch --parsable --kill-on-invalid-dep=yes ${SBATCH_OPTIONS:-} "$@" | cut -d';' -f1; }
)";
  std::map<std::string, std::pair<std::string, size_t>> places;
  std::map<std::string, size_t> sizes;
  make_folder(study / "slurm");
  for (const auto& [stage, members] : stages_of(jobs)) {
    write_text(study / "slurm" / (stage + ".sbatch"),
               sbatch_script(stage, members, memory_line(members, bytes), program));
    const bool computes = std::set<std::string>{"pretrain", "fine-tune", "scratch", "predict"}.contains(stage);
    const std::string needs = dependencies(members, places, sizes);
    submit += variable(stage) + "=$(submit " + (computes ? "${COMPUTE_OPTIONS:-} " : "") +
              (needs.empty() ? "" : "\"" + needs + "\" ") + "slurm/" + stage + ".sbatch)\n";
    for (size_t i = 0; i < members.size(); ++i) places[members[i]->name] = {stage, i};
    sizes[stage] = members.size();
  }
  submit += "echo \"handed in; the last job is ${report}\"\n";
  write_text(study / "slurm" / "submit.sh", submit);
}

}  // namespace metvox
