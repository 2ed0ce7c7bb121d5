// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/report.h"

#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <sstream>
#include <vector>

#include "tensor/error.h"

extern "C" const char __executable_start[];

namespace simt {
namespace {

struct Frame {
  std::string function, file;  // file with its line
};

// Innermost first: functions that were inlined there, then the one that holds the code.
std::vector<Frame> frames_at(uintptr_t address) {
  const auto* elf_type = reinterpret_cast<const uint16_t*>(__executable_start + 16);
  constexpr uint16_t kFixedAddress = 2;  // ET_EXEC; else the file's addresses count from its start
  if (*elf_type != kFixedAddress) address -= reinterpret_cast<uintptr_t>(__executable_start);
  std::ostringstream command;
  command << "addr2line -Cfi -e /proc/" << getpid() << "/exe 0x" << std::hex << address << " 2>/dev/null";
  std::vector<Frame> frames;
  if (FILE* pipe = popen(command.str().c_str(), "r")) {
    std::array<char, 4096> line;
    const auto next = [&](std::string& text) {
      if (!std::fgets(line.data(), line.size(), pipe)) return false;
      text = line.data();
      text.erase(text.find_last_not_of('\n') + 1);
      return true;
    };
    for (Frame f; next(f.function) && next(f.file);) frames.push_back(f);
    pclose(pipe);
  }
  return frames;
}

std::string file_name(const std::string& path) {
  const std::string name = path.substr(path.find_last_of('/') + 1);
  return name.substr(0, name.find(" (discriminator"));
}

// Wrappers of instructions: the line of interest is the one that called them.
bool is_wrapper(const Frame& f) {
  for (const char* header : {"kernels/sim/cuda_names.h", "kernels/cuda/kernel.h", "kernels/cuda/ptx.h",
                             "kernels/cuda/hopper.h", "kernels/cuda/wgmma.h", "kernels/cuda/vector.h"})
    if (f.file.find(header) != std::string::npos) return true;
  return false;
}

std::string hex(const void* p) {
  std::ostringstream text;
  text << "code at " << p;
  return text.str();
}

}  // namespace

std::string describe(Site site) { return metvox::sentence(file_name(site.file), ":", site.line); }

std::string function_at(const void* function) {
  const auto frames = frames_at(reinterpret_cast<uintptr_t>(function));
  if (frames.empty() || frames.back().function == "??") return hex(function);
  std::string name = frames.back().function;
  for (const std::string noise : {"(anonymous namespace)::", "void "})
    if (const size_t at = name.find(noise); at != std::string::npos) name.erase(at, noise.size());
  return name.substr(0, name.find('('));
}

std::string source_of(const void* return_address) {
  const auto frames = frames_at(reinterpret_cast<uintptr_t>(return_address) - 1);  // inside of the call
  for (const Frame& f : frames)
    if (!is_wrapper(f) && f.file.find("??") == std::string::npos) return file_name(f.file);
  return hex(return_address);
}

}  // namespace simt
