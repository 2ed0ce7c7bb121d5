// SPDX-License-Identifier: Apache-2.0
#include "tools/machine.h"

#include <oneapi/dnnl/dnnl.h>
#include <sched.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "kernels/conv3d.h"
#include "kernels/conv_transpose3d.h"
#include "kernels/cpu/isa.h"
#include "kernels/norm_act.h"
#include "kernels/segmentation_loss.h"
#include "tensor/threads.h"

namespace metvox {
namespace {

// The first line of a small file of /proc or /sys; empty when there is none.
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The value after "KEY : " in a file of such lines.
std::string value_of(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.rfind(key, 0) == 0 && line.find(':') != std::string::npos) {
      const size_t first = line.find_first_not_of(" \t", line.find(':') + 1);
      return first == std::string::npos ? "" : line.substr(first);
    }
  return "";
}

// CPUs of the cgroup's quota, 0 without one.
double cgroup_quota() {
  std::istringstream v2(first_line("/sys/fs/cgroup/cpu.max"));
  double quota = 0, period = 0;
  if (v2 >> quota >> period && period > 0) return quota / period;
  std::istringstream v1_quota(first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"));
  std::istringstream v1_period(first_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
  if (v1_quota >> quota && v1_period >> period && quota > 0 && period > 0) return quota / period;
  return 0;
}

// Of the mask, a CPU a core.
int cores_in_mask() {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return 1;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    const std::string siblings = first_line(folder + "thread_siblings_list");
    cores.insert(siblings.empty() ? std::to_string(cpu) : siblings);
  }
  return std::max(1, static_cast<int>(cores.size()));
}

std::string onednn_version() {
  const dnnl_version_t* v = dnnl_version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

}  // namespace

int usable_cores() {
  // Once threads are pinned the mask is that of the first one; OpenMP remembers how many places there are.
  const int cores = omp_get_num_places() > 0 ? omp_get_num_places() : cores_in_mask();
  const double quota = cgroup_quota();
  return quota > 0 ? std::max(1, std::min(cores, static_cast<int>(std::lround(quota)))) : cores;
}

void start_threads(int threads) {
  const int cores = usable_cores();
  if (threads == 0) threads = std::getenv("OMP_NUM_THREADS") ? omp_get_max_threads() : cores;
  set_threads(threads);
  if (threads < 2 || threads != cores || std::getenv("OMP_PROC_BIND") || cores != cores_in_mask()) return;
  std::string line;
  std::vector<std::string> arguments;
  std::ifstream command("/proc/self/cmdline");
  while (std::getline(command, line, '\0')) arguments.push_back(line);
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  setenv("OMP_PROC_BIND", "close", 1);
  setenv("OMP_PLACES", "cores", 0);
  execv("/proc/self/exe", argv.data());
  unsetenv("OMP_PROC_BIND");  // no /proc: go on, unpinned
}

const std::vector<std::string>& cpu_engines() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    const auto add = [&](const auto& table) {
      for (const auto& engine : table.engines())
        if (engine.device == Device::Kind::cpu && std::find(all.begin(), all.end(), engine.name) == all.end())
          all.emplace_back(engine.name);
    };
    add(conv3d_forward());
    add(conv_transpose3d_forward());
    add(norm_act());
    add(segmentation_loss());
    return all;
  }();
  return names;
}

Json describe_machine() {
  const std::string memory = value_of("/proc/meminfo", "MemTotal"), free = value_of("/proc/meminfo", "MemAvailable");
  const auto gib = [](const std::string& kib) { return std::round(std::atof(kib.c_str()) / 1048576 * 10) / 10; };
  Json engines = Json::array();
  for (const auto& name : cpu_engines())
    engines.push_back({{"name", name}, {"version", name == "onednn" ? onednn_version() : METVOX_VERSION}});
  return {{"version", METVOX_VERSION},
          {"devices", Json::array({{{"device", "cpu"},
                                    {"model", value_of("/proc/cpuinfo", "model name")},
                                    {"cores", usable_cores()},
                                    {"threads", threads()},
                                    {"memory_gib", gib(memory)},
                                    {"memory_available_gib", gib(free)},
                                    {"isa", sentence("x86-64-", name_of(isa()))},
                                    {"bf16", has_bf16_instructions()},
                                    {"engines", engines}}})},
          {"cuda", nullptr}};
}

std::string engines_line() {
  std::string line = "engines:";
  for (const auto& name : cpu_engines())
    line += sentence(line.back() == ':' ? " " : ", ", name, name == "onednn" ? " " + onednn_version() : "");
  return line + "; no CUDA in this build";
}

}  // namespace metvox
