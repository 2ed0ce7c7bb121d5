// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/system_memory.h"

#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

namespace metvox {
namespace {

// The number behind a name in a file of lines "NAME NUMBER" or "NAME: NUMBER kB"; without a name, the first number.
std::optional<size_t> number_in(const Path& path, const std::string& name = "") {
  std::ifstream file(path);
  size_t number = 0;
  if (name.empty()) return file >> number ? std::optional(number) : std::nullopt;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    if (words >> word && (word == name || word == name + ":") && words >> number) return number;
  }
  return {};
}

// Names of files and fields in the two versions of control groups.
struct GroupNames {
  const char *line, *mount, *limit, *usage, *inactive, *active;
};
constexpr GroupNames kGroups[] = {
    {"0::", "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file", "active_file"},
    {":memory:", "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
     "total_active_file"}};

// Where the process' group hangs under the mount, "/a/b"; empty at its root, and in a container of its own.
std::string group_path(const Path& root, const std::string& marker) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t at = line.find(marker);
    if (at != std::string::npos && (marker[0] == ':' || at == 0)) return line.substr(at + marker.size());
  }
  return "";
}

void bound_by_group(const Path& folder, const GroupNames& names, SystemMemory& memory) {
  const auto limit = number_in(folder / names.limit);
  if (!limit) return;
  const size_t pages = number_in(folder / "memory.stat", names.inactive).value_or(0) +
                       number_in(folder / "memory.stat", names.active).value_or(0);  // of files: given back at need
  const size_t usage = number_in(folder / names.usage).value_or(0), held = usage - std::min(usage, pages);
  memory.total = std::min(memory.total, *limit);
  memory.available = std::min(memory.available, *limit - std::min(*limit, held));
}

}  // namespace

SystemMemory system_memory(const Path& root) {
  const Path meminfo = root / "proc/meminfo";
  SystemMemory memory{1024 * number_in(meminfo, "MemTotal").value_or(0),
                      1024 * number_in(meminfo, "MemAvailable").value_or(0)};
  if (memory.total == 0 || memory.available == 0) return {};
  for (const GroupNames& names : kGroups) {
    const Path mount = root / names.mount;
    const std::string own = group_path(root, names.line);
    for (Path below = Path(own).relative_path();; below = below.parent_path()) {  // each group above bounds it too
      bound_by_group(below.empty() ? mount : mount / below, names, memory);
      if (below.empty()) break;
    }
  }
  return memory;
}

ResidentBytes resident_bytes() {
  ResidentBytes bytes;
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    size_t kib = 0;
    words >> name >> kib;
    if (name == "VmRSS:") bytes.now = kib * 1024;
    if (name == "VmHWM:") bytes.most = kib * 1024;
  }
  return bytes;
}

void give_back_what_is_freed() {
  mallopt(M_MMAP_THRESHOLD, 1 << 20);  // which malloc else raises to the size of the blocks that it sees
}

size_t mebibytes(size_t bytes) { return (bytes + (1 << 20) - 1) >> 20; }

void require_memory(const std::string& what, size_t bytes, const SystemMemory& memory) {
  if (memory.total == 0 || bytes <= memory.total) return;
  fail(Fault::memory, what, " needs ", mebibytes(bytes),
       " MiB, but this machine, or the control group of this process, has ", mebibytes(memory.total),
       " MiB; use one with more, or plan a smaller patch or batch");
}

std::string memory_warning(const std::string& what, size_t bytes, const SystemMemory& memory) {
  if (memory.total == 0 || bytes <= memory.available) return "";
  return sentence(what, " needs up to ", mebibytes(bytes), " MiB, but ", mebibytes(memory.available),
                  " MiB are available now; it may be stopped by the system, or run slowly");
}

}  // namespace metvox
