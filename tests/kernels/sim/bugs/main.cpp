// SPDX-License-Identifier: Apache-2.0
// sim_bugs NAME: runs one planted bug; 0 when the report has its kind, its kernel, a thread and every marked line.
// sim_bugs NAME --right: its twin, under every schedule; 0 when nothing is reported.
#include <cstdio>
#include <fstream>
#include <regex>

#include "tensor/error.h"
#include "tests/kernels/sim/bugs/bugs.h"

namespace metvox {

std::vector<Bug>& bugs() {
  static std::vector<Bug> all;
  return all;
}

namespace {

// The lines of the bug's file that end in its marker, as reports write them: "shared.cu:12".
std::vector<std::string> marked_lines(const Bug& bug) {
  std::ifstream file(bug.file);
  std::vector<std::string> marked;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number)
    if (line.ends_with("// bug: " + bug.name))
      marked.push_back(sentence(bug.file.substr(bug.file.find_last_of('/') + 1), ":", number));
  return marked;
}

bool is_reported(const Bug& bug, bool checked) {
  std::string report;
  try {
    bug.run(false);
  } catch (const Error& e) {
    report = e.what();
  }
  std::printf("%s\n", report.empty() ? "nothing was reported" : report.c_str());
  const auto missing = [](const std::string& what) {
    std::printf("the report lacks %s\n", what.c_str());
    return false;
  };
  if (!std::regex_search(report, std::regex(bug.report))) return missing(bug.report);
  if (report.find(bug.name) == std::string::npos) return missing("the kernel's name");
  if (bug.report.find("launch") == std::string::npos && report.find("thread (") == std::string::npos)
    return missing("a thread");
  for (const auto& line : marked_lines(bug))
    if (checked && report.find(line) == std::string::npos) return missing(line);
  return true;
}

int run(int argc, char** argv) {
#if defined(METVOX_SIM_CHECKED)
  constexpr bool kCheckedBuild = true;
#else
  constexpr bool kCheckedBuild = false;
#endif
  for (const Bug& bug : bugs()) {
    if (argc < 2 || bug.name != argv[1]) continue;
    if (argc == 2) return is_reported(bug, kCheckedBuild) ? 0 : 1;
    under_every_schedule([&] { bug.run(true); });
    return 0;
  }
  return 2;
}

}  // namespace
}  // namespace metvox

int main(int argc, char** argv) {
  try {
    return metvox::run(argc, argv);
  } catch (const metvox::Error& e) {
    std::printf("%s\n", e.what());
    return 1;
  }
}
