// SPDX-License-Identifier: Apache-2.0
#include "segmentation/data/check.h"

#include "segmentation/data/case_fault.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace metvox {
namespace {

CheckReport check_paths(const std::vector<Path>& paths, bool quiet) {
  Progress progress("check", "cases", quiet);
  try {
    const bool dataset = paths.size() == 1 && std::filesystem::is_directory(paths[0]) && is_dataset(paths[0]);
    return dataset ? check_dataset(paths[0], progress.callback()) : check_inputs(paths, progress.callback());
  } catch (const Error& e) {
    if (e.fault() != Fault::input) throw;
    return {0, {e.what()}, {}};
  }
}

int run(CommandLine& line) {
  std::vector<Path> paths;
  line.positional("DIR|FILES", paths,
                  "a raw data set, BraTS-named folders, a folder of inputs, or the files of a case or more");
  line.common({Common::threads, Common::json, Common::quiet});
  if (!line.parse()) return 0;
  for (const Path& path : paths) {
    if (!std::filesystem::exists(path)) fail(Fault::input, "there is no file or folder ", path.string());
    if (paths.size() > 1 && std::filesystem::is_directory(path))
      fail(Fault::usage, "check takes one folder, or files; ", path.string(), " is a folder beside others");
  }
  const CheckReport report = check_paths(paths, line.values().quiet);
  if (line.values().json) {
    print_json({{"cases", report.cases}, {"faults", report.faults}, {"warnings", report.warnings}});
  } else {
    for (const auto& warning : report.warnings) std::printf("warning: %s\n", warning.c_str());
    for (const auto& fault : report.faults) std::printf("fault: %s\n", fault.c_str());
    const auto count = [](const std::vector<std::string>& sentences) { return static_cast<int64_t>(sentences.size()); };
    std::printf("%s, %s, %s\n", counted(report.cases, "case").c_str(), counted(count(report.faults), "fault").c_str(),
                counted(count(report.warnings), "warning").c_str());
  }
  return report.faults.empty() ? 0 : code(Fault::input);
}

const VerbEntry entry{{"check", Stage::data, "verify a data set or inputs and name every fault",
                       "metvox check raw\nmetvox check case-t1c.nii.gz case-t1n.nii.gz case-t2f.nii.gz case-t2w.nii.gz",
                       run}};

}  // namespace
}  // namespace metvox
