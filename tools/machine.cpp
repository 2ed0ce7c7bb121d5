// SPDX-License-Identifier: Apache-2.0
#include "tools/machine.h"

#include <oneapi/dnnl/dnnl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "kernels/cpu/isa.h"
#include "kernels/engines_of.h"
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

// Cores of the mask: for each its CPUs, "0,1", by the name that it has among its siblings.
std::map<std::string, std::string> cores_in_mask() {
  cpu_set_t mask;
  std::map<std::string, std::string> cores;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return {{"0", "0"}};
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    const std::string siblings = first_line(folder + "thread_siblings_list");
    std::string& cpus = cores[siblings.empty() ? std::to_string(cpu) : siblings];
    cpus += (cpus.empty() ? "" : ",") + std::to_string(cpu);
  }
  return cores;
}

// As OMP_PLACES takes them. OpenMP's own word for it, "cores", makes it complain where there is no /sys.
std::string places_of(const std::map<std::string, std::string>& cores) {
  std::string places;
  for (const auto& [name, cpus] : cores) places += (places.empty() ? "{" : ",{") + cpus + "}";
  return places;
}

std::string onednn_version() {
  const dnnl_version_t* v = dnnl_version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

}  // namespace

int usable_cores() {
  // Once threads are pinned the mask is that of the first one; OpenMP remembers how many places there are.
  const int cores = omp_get_num_places() > 0 ? omp_get_num_places() : static_cast<int>(cores_in_mask().size());
  const double quota = cgroup_quota();
  return quota > 0 ? std::max(1, std::min(cores, static_cast<int>(std::lround(quota)))) : cores;
}

void start_threads(int threads) {
  const int cores = usable_cores();
  if (threads == 0) threads = std::getenv("OMP_NUM_THREADS") ? omp_get_max_threads() : cores;
  set_threads(threads);
  const auto mask = cores_in_mask();
  if (threads < 2 || threads != cores || std::getenv("OMP_PROC_BIND") || cores != static_cast<int>(mask.size())) return;
  std::string line;
  std::vector<std::string> arguments;
  std::ifstream command("/proc/self/cmdline");
  while (std::getline(command, line, '\0')) arguments.push_back(line);
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  setenv("OMP_PROC_BIND", "close", 1);
  setenv("OMP_PLACES", places_of(mask).c_str(), 0);
  execv("/proc/self/exe", argv.data());
  unsetenv("OMP_PROC_BIND");  // no /proc: go on, unpinned
}

Device find_device(const std::string& name) {
  if (name == "cpu") return {};
  if (name == "sim") return {Device::Kind::sim};
  if (name == "auto") return device_count(Device::Kind::cuda) > 0 ? Device{Device::Kind::cuda} : Device{};
  Device device{Device::Kind::cuda};
  if (name.rfind("cuda:", 0) == 0) {
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + 5, end, device.index);
    if (parsed.ec != std::errc() || parsed.ptr != end || device.index < 0) device.index = -1;
  }
  if ((name != "cuda" && name.rfind("cuda:", 0) != 0) || device.index < 0)
    fail(Fault::usage, "--device: \"", name, "\" is not one of auto, cpu, cuda, cuda:N");
  driver(device);  // says what is missing
  return device;
}

namespace {

Json describe_engines(Device::Kind kind) {
  Json engines = Json::array();
  for (const auto& name : engines_of(kind))
    engines.push_back({{"name", name}, {"version", name == "onednn" ? onednn_version() : METVOX_VERSION}});
  return engines;
}

double gib(double bytes) { return std::round(bytes / (1 << 30) * 10) / 10; }

Json describe_cpu() {
  const auto kib = [](const char* key) { return 1024 * std::atof(value_of("/proc/meminfo", key).c_str()); };
  return {{"device", "cpu"},
          {"model", value_of("/proc/cpuinfo", "model name")},
          {"cores", usable_cores()},
          {"threads", threads()},
          {"memory_gib", gib(kib("MemTotal"))},
          {"memory_available_gib", gib(kib("MemAvailable"))},
          {"isa", sentence("x86-64-", name_of(isa()))},
          {"bf16", has_bf16_instructions()},
          {"engines", describe_engines(Device::Kind::cpu)}};
}

Json describe_cuda(Device device) {
  const DeviceFacts facts = driver(device).facts(device.index);
  return {{"device", name_of(device)},
          {"model", facts.model},
          {"compute_capability", sentence(facts.arch / 100, '.', facts.arch / 10 % 10)},
          {"memory_gib", gib(static_cast<double>(facts.memory_bytes))},
          {"memory_available_gib", gib(static_cast<double>(facts.free_bytes))},
          {"bf16", facts.arch >= 800},
          {"engines", describe_engines(Device::Kind::cuda)}};
}

}  // namespace

Json describe_machine() {
  Json devices = Json::array({describe_cpu()});
  const int gpus = device_count(Device::Kind::cuda);
  for (int i = 0; i < gpus; ++i) devices.push_back(describe_cuda({Device::Kind::cuda, i}));
  return {{"version", METVOX_VERSION}, {"devices", devices}, {"cuda", cuda_line()}};
}

std::string cuda_line() {
  if (!built_for(Device::Kind::cuda)) return "not in this build";
  const int gpus = device_count(Device::Kind::cuda);
  return gpus == 0 ? "in this build, but no device or driver" : sentence(gpus, gpus == 1 ? " device" : " devices");
}

std::string engines_line() {
  std::string line = "engines:";
  for (const auto& name : engines_of(Device::Kind::cpu))
    line += sentence(line.back() == ':' ? " " : ", ", name, name == "onednn" ? " " + onednn_version() : "");
  return line + "; cuda: " + cuda_line();
}

}  // namespace metvox
